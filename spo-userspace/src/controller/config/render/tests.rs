use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::{Serialize, de::DeserializeOwned};

use super::*;

fn settings(spec: Value) -> Settings {
    Settings {
        namespace: "security-profiles-operator".to_owned(),
        kubelet: "/var/lib/kubelet".to_owned(),
        uid: "11111111-2222-3333-4444-555555555555".to_owned(),
        spec: serde_json::from_value(spec).unwrap(),
        own: Own {
            image: "example.com/spo:v1".to_owned(),
            pull_policy: Some("IfNotPresent".to_owned()),
            tolerations: json!([{ "key": "node-role.kubernetes.io/control-plane", "operator": "Exists" }]),
            ..Own::default()
        },
        webhook: true,
        monitors: true,
    }
}

fn find(settings: &Settings, key: &str) -> Value {
    let all = render(settings);
    let found = all.into_iter().find(|wanted| wanted.key() == key);
    found.unwrap_or_else(|| panic!("no {key}")).object
}

fn daemons(spec: Value) -> Value {
    find(&settings(spec), "DaemonSet/spod")["spec"]["template"]["spec"].take()
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap()
}

#[test]
fn everything_of_the_initial_configuration() {
    let object = super::super::initial::configuration("security-profiles-operator");
    let all = render(&settings(object["spec"].clone()));
    let text: Vec<_> = all.iter().map(|wanted| yaml(&wanted.object)).collect();
    insta::assert_snapshot!(text.join("---\n"));
}

#[test]
fn every_field_that_means_something_reaches_the_daemons() {
    let pod = daemons(json!({
        "verbosity": 2,
        "enableMemoryOptimization": true,
        "enricher": { "enableBpfRecorder": true, "enableLogEnricher": true },
        "enableInsecureMetricsAccess": true,
        "imagePullSecrets": [{ "name": "pull" }],
        "daemonResourceRequirements": { "limits": { "memory": "256Mi" } },
        "selinux": { "typeTag": "unconfined_t" },
        "scheduling": {
            "priorityClassName": "high",
            "tolerations": [{ "operator": "Exists" }],
            "affinity": { "nodeAffinity": {} },
        },
    }));
    let container = &pod["containers"][0];
    let arguments = [
        "daemon",
        "--with-mem-optim=true",
        "--with-insecure-metrics-access=true",
    ];
    assert_eq!(container["args"], json!(arguments));
    for recorder in [&pod["containers"][1], &pod["containers"][2]] {
        let own = recorder["args"].as_array().unwrap();
        let all = arguments[1..].iter().all(|one| own.contains(&json!(one)));
        assert!(all, "{recorder}");
    }
    assert_eq!(
        container["resources"],
        json!({ "limits": { "memory": "256Mi" } })
    );
    let verbosity = json!({ "name": "SPO_VERBOSITY", "value": "2" });
    assert!(
        container["env"].as_array().unwrap().contains(&verbosity),
        "{container}"
    );
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "pull" }]));
    assert_eq!(
        pod["securityContext"]["seLinuxOptions"]["type"],
        "unconfined_t"
    );
    assert_eq!(pod["priorityClassName"], "high");
    let startup = json!({ "key": "spo.x-k8s.io/profiles-not-installed", "operator": "Exists" });
    assert_eq!(
        pod["tolerations"],
        json!([{ "operator": "Exists" }, startup])
    );
    assert_eq!(pod["affinity"], json!({ "nodeAffinity": {} }));
}

#[test]
fn what_is_not_built_changes_nothing() {
    let asked = json!({
        "enableAppArmor": true,
        "selinux": { "enable": true },
        "enricher": {
            "enableJsonEnricher": true, "logEnricherSource": "Bpf",
        },
    });
    assert_eq!(daemons(asked.clone()), daemons(json!({})));
    let spec = serde_json::from_value(asked).unwrap();
    let told = crate::controller::config::unsupported::unsupported(&spec);
    assert_eq!(told.len(), 4);
    let nothing = serde_json::from_value(json!({ "selinux": { "enable": false } })).unwrap();
    assert!(crate::controller::config::unsupported::unsupported(&nothing).is_empty());
}

#[test]
fn profiling_reaches_the_daemon_alone() {
    let mut pod = daemons(json!({ "enableProfiling": true }));
    let container = &mut pod["containers"][0];
    let mut last = |field: &str, count: usize| {
        let all = container[field].as_array_mut().unwrap();
        all.split_off(all.len() - count)
    };
    let port = json!({ "name": "profiling", "containerPort": 6060, "protocol": "TCP" });
    assert_eq!(last("ports", 1), [port]);
    let variables = [
        json!({ "name": "SPO_PROFILING", "value": "true" }),
        json!({ "name": "SPO_PROFILING_PORT", "value": "6060" }),
    ];
    assert_eq!(last("env", 2), variables);
    // Samples need room.
    let memory = container["resources"]["limits"]["memory"].take();
    assert_eq!(memory, "512Mi");
    container["resources"]["limits"]["memory"] = json!("128Mi");
    assert_eq!(pod, daemons(json!({})));
}

#[test]
fn the_daemon_has_no_privilege() {
    let pod = daemons(json!({}));
    assert_eq!(pod["hostPID"], Value::Null);
    let context = &pod["containers"][0]["securityContext"];
    let expected = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": 65535,
        "runAsNonRoot": true,
        "runAsUser": 65535,
        "seccompProfile": {
            "type": "Localhost", "localhostProfile": "security-profiles-operator.json",
        },
    });
    assert_eq!(*context, expected);
}

#[test]
fn who_reads_logs_has_no_capability_and_sees_what_it_needs() {
    let pod = daemons(json!({
        "enricher": { "enableLogEnricher": true }, "hostProcVolumePath": "/hostproc",
    }));
    assert_eq!(pod["hostPID"], Value::Null);
    assert_eq!(pod["hostNetwork"], Value::Null);
    let reader = &pod["containers"][1];
    assert_eq!(reader["name"], "log-enricher");
    let expected = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": 4,
        "runAsNonRoot": false,
        "runAsUser": 0,
        "seccompProfile": { "type": "Localhost", "localhostProfile": "log-enricher.json" },
    });
    assert_eq!(reader["securityContext"], expected);
    let mounts = reader["volumeMounts"].as_array().unwrap();
    assert_eq!(mounts.len(), 3);
    assert!(mounts.iter().all(|mount| mount["readOnly"] == true));
    let volumes = pod["volumes"].as_array().unwrap();
    let paths: Vec<_> = volumes[volumes.len() - 2..]
        .iter()
        .map(|volume| volume["hostPath"]["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["/var/log", "/hostproc"]);
    let mut without = pod.clone();
    without["containers"].as_array_mut().unwrap().pop();
    without["volumes"]
        .as_array_mut()
        .unwrap()
        .truncate(volumes.len() - 2);
    assert_eq!(without, daemons(json!({})));
}

#[test]
fn the_recorder_has_two_capabilities_and_no_other_privilege() {
    let pod = daemons(json!({ "enricher": { "enableBpfRecorder": true } }));
    assert_eq!(pod["hostPID"], Value::Null);
    assert_eq!(pod["hostNetwork"], Value::Null);
    let recorder = &pod["containers"][1];
    assert_eq!(recorder["name"], "bpf-recorder");
    let expected = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"], "add": ["BPF", "PERFMON"] },
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": 0,
        "runAsNonRoot": false,
        "runAsUser": 0,
        "seccompProfile": { "type": "Localhost", "localhostProfile": "bpf-recorder.json" },
    });
    assert_eq!(recorder["securityContext"], expected);
    // Nothing of the host but what every pod has.
    assert_eq!(recorder["volumeMounts"].as_array().unwrap().len(), 1);
    let mut without = pod.clone();
    without["containers"].as_array_mut().unwrap().pop();
    assert_eq!(without, daemons(json!({})));
    let pod = daemons(json!({
        "enableProfiling": true,
        "enableVerifier": true,
        "enricher": { "enableBpfRecorder": true, "enableLogEnricher": true },
    }));
    // A port of a pod is one of its containers alone.
    let ports = pod["containers"].as_array().unwrap().iter();
    let ports = ports.flat_map(|container| container["ports"].as_array().unwrap());
    let mut ports: Vec<_> = ports.map(|port| port["containerPort"].as_u64()).collect();
    let all = ports.len();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), all);
}

#[test]
fn the_verifier_has_three_capabilities_and_sees_the_nodes_processes() {
    let pod = daemons(json!({ "enableVerifier": true, "enableMemoryOptimization": true }));
    assert_eq!(pod["hostPID"], true);
    assert_eq!(pod["hostNetwork"], Value::Null);
    let verifier = &pod["containers"][1];
    assert_eq!(verifier["name"], "verifier");
    let expected = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"], "add": ["BPF", "PERFMON", "SETUID"] },
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": 65535,
        "runAsNonRoot": false,
        "runAsUser": 0,
        "seccompProfile": { "type": "Localhost", "localhostProfile": "verifier.json" },
    });
    assert_eq!(verifier["securityContext"], expected);
    let arguments = [
        "verifier",
        "--health-address=[::]:8088",
        "--metrics-address=[::]:9446",
    ];
    assert_eq!(verifier["args"], json!(arguments));
    // It writes nowhere.
    let mounts = verifier["volumeMounts"].as_array().unwrap();
    assert_eq!(mounts[0]["mountPath"], ROOT);
    assert!(mounts.len() == 2 && mounts.iter().all(|mount| mount["readOnly"] == true));
    let mut without = pod.clone();
    without["containers"].as_array_mut().unwrap().pop();
    without.as_object_mut().unwrap().remove("hostPID");
    assert_eq!(
        without,
        daemons(json!({ "enableMemoryOptimization": true }))
    );
}

#[test]
fn the_webhook_is_left_alone_where_it_is_said() {
    let mut other = settings(json!({ "webhook": { "staticConfig": true } }));
    let kinds = |settings: &Settings| {
        let all = render(settings);
        all.iter().map(Wanted::key).collect::<Vec<_>>()
    };
    other.monitors = false;
    assert_eq!(kinds(&other), ["Service/metrics", "DaemonSet/spod"]);
    other.spec.webhook = None;
    assert_eq!(kinds(&other).len(), 5);
    other.webhook = false;
    assert_eq!(kinds(&other), ["Service/metrics", "DaemonSet/spod"]);
}

#[test]
fn metrics_are_read_in_the_way_in_which_they_are_served() {
    let settings = settings(json!({ "enableInsecureMetricsAccess": true }));
    let monitor = find(
        &settings,
        "ServiceMonitor/security-profiles-operator-monitor",
    );
    let endpoint =
        json!({ "port": "http", "path": "/metrics", "interval": "10s", "scheme": "http" });
    assert_eq!(monitor["spec"]["endpoints"][0], endpoint);
    let service = find(&settings, "Service/metrics");
    assert_eq!(service["spec"]["ports"][0]["name"], endpoint["port"]);
    // The operator and the webhook are asked over TLS all the same.
    let endpoints = monitor["spec"]["endpoints"].as_array().unwrap();
    let schemes = |port: &str| {
        let of_port = endpoints.iter().filter(|one| one["port"] == port);
        of_port.map(|one| one["scheme"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(schemes("metrics"), ["https", "https"]);
    assert_eq!(schemes("webhook"), ["https", "https"]);
    assert_eq!(schemes("http"), ["http", "http"]);
}

#[test]
fn metrics_of_recorders_are_read_where_there_are_recorders() {
    let of = |spec: Value| {
        let settings = settings(spec);
        let monitor = find(
            &settings,
            "ServiceMonitor/security-profiles-operator-monitor",
        );
        let endpoints = monitor["spec"]["endpoints"].as_array().unwrap().iter();
        let service = find(&settings, "Service/metrics");
        let ports = service["spec"]["ports"].as_array().unwrap().clone();
        let named = |name: &Value| ports.iter().any(|port| port["name"] == *name);
        // Twice each, and all of them are ports of the Service.
        let endpoints: Vec<_> = endpoints
            .filter(|one| named(&one["port"]))
            .map(|one| format!("{} {}", one["scheme"], one["port"]).replace('"', ""))
            .collect();
        let ports: Vec<_> = ports
            .iter()
            .map(|port| port["targetPort"].clone())
            .collect();
        (endpoints, ports)
    };
    let (endpoints, ports) = of(json!({}));
    assert_eq!((endpoints.len(), ports), (2, vec![json!(9443)]));
    let (endpoints, ports) = of(json!({ "enricher": { "enableBpfRecorder": true } }));
    assert_eq!(endpoints[..2], ["https http", "https recorder"]);
    assert_eq!(ports, [9443, 9444]);
    let (endpoints, ports) = of(json!({
        "enableInsecureMetricsAccess": true, "enricher": { "enableLogEnricher": true },
    }));
    assert_eq!(endpoints[..2], ["http http", "http logs"]);
    assert_eq!(ports, [9443, 9445]);
    let (endpoints, ports) = of(json!({ "enableVerifier": true }));
    assert_eq!(endpoints[..2], ["https http", "https verifier"]);
    assert_eq!(ports, [9443, 9446]);
}

/// What is rendered has no field that its kind does not have.
#[test]
fn the_kinds_know_all_fields() {
    fn same<K: DeserializeOwned + Serialize>(object: &Value) {
        let typed: K = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), *object);
    }
    let settings = settings(json!({
        "scheduling": { "priorityClassName": "x", "tolerations": [{ "operator": "Exists" }] },
        "imagePullSecrets": [{ "name": "pull" }],
    }));
    for wanted in render(&settings) {
        match wanted.resource.kind.as_str() {
            "DaemonSet" => same::<DaemonSet>(&wanted.object),
            "Deployment" => same::<Deployment>(&wanted.object),
            "Service" => same::<Service>(&wanted.object),
            "PodDisruptionBudget" => same::<PodDisruptionBudget>(&wanted.object),
            "ServiceMonitor" => {}
            other => panic!("{other}"),
        }
    }
}
