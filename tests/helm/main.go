// Renders a chart as Helm does, as far as our chart goes: values, sprig's functions, toYaml, the
// chart's files, the release's namespace. For machines without Helm; there is no package of it.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run main.go CHART NAMESPACE [VALUES]
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"github.com/ghodss/yaml"
)

type files struct{ root string }

// Get gives a file of the chart, and nothing if there is none, as Helm does.
func (f files) Get(name string) string {
	content, err := os.ReadFile(filepath.Join(f.root, name))
	if err != nil {
		return ""
	}
	return string(content)
}

type values map[string]interface{}

func main() {
	if err := render(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func render(chart, namespace string, extra []string) error {
	set := values{}
	for _, name := range append([]string{filepath.Join(chart, "values.yaml")}, extra...) {
		more := values{}
		if err := read(name, &more); err != nil {
			return err
		}
		set = merge(set, more)
	}
	about := values{}
	if err := read(filepath.Join(chart, "Chart.yaml"), &about); err != nil {
		return err
	}
	context := values{
		"Values":  map[string]interface{}(set),
		"Chart":   about,
		"Release": values{"Name": "spo", "Namespace": namespace, "Service": "Helm"},
		"Files":   files{chart},
	}
	functions := sprig.TxtFuncMap()
	functions["toYaml"] = func(value interface{}) string {
		text, err := yaml.Marshal(value)
		if err != nil {
			return err.Error()
		}
		return strings.TrimSuffix(string(text), "\n")
	}
	names, err := filepath.Glob(filepath.Join(chart, "templates", "*.yaml"))
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		parsed, err := template.New(name).Option("missingkey=error").Funcs(functions).Parse(string(text))
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := parsed.Execute(&out, context); err != nil {
			return err
		}
		fmt.Printf("---\n%s\n", out.String())
	}
	return nil
}

func read(name string, into *values) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return yaml.Unmarshal(text, into)
}

// merge lays values over others, as deep as both are maps.
func merge(below, above values) values {
	for key, value := range above {
		old, isOld := below[key].(map[string]interface{})
		new, isNew := value.(map[string]interface{})
		if isOld && isNew {
			value = map[string]interface{}(merge(old, new))
		}
		below[key] = value
	}
	return below
}
