//! What the configuration denies to raw profiles, as far as a policy tells by itself.

use super::scope::{Members, Scope, members};
use super::{RawSelinuxSpec, arguments, body, statements};
use crate::profile::fields::Problems;
use crate::profile::selinux::cil::{self, Flaws, Item, Places, class_permissions};
use crate::profile::selinux::restrict::{Denied, What, system_profile};
use crate::profile::selinux::{Finding, Inherit, Options};

/// What a raw profile has that the configuration denies.
///
/// Only names that the policy itself says are compared. What the node's attributes, macros and
/// permission sets stand for is not known here.
pub fn check_raw_restrictions(
    name: &str,
    spec: &RawSelinuxSpec,
    options: &Options,
) -> Vec<Finding> {
    let mut problems = Problems::new("");
    let places = Places::of_nowhere(&spec.policy);
    let Some(tree) = cil::parse(&spec.policy, &mut Flaws::new(&mut problems, &places)) else {
        return Vec::new();
    };
    let scope = Scope::new(name, &tree);
    let mut check = Check {
        denied: Denied::new(options),
        options,
        scope: &scope,
        places: &places,
        findings: Vec::new(),
    };
    for statement in statements(&tree) {
        check.statement(statement, None);
    }
    for (index, one) in scope.macros.iter().enumerate() {
        for statement in body(one.definition) {
            check.statement(statement, Some(index));
        }
    }
    check.findings
}

struct Check<'c, 't, 's> {
    denied: Denied<'c>,
    options: &'c Options,
    scope: &'c Scope<'t, 's>,
    places: &'c Places<'c>,
    findings: Vec<Finding>,
}

impl Check<'_, '_, '_> {
    fn statement(&mut self, statement: Item<'_, '_>, within: Option<usize>) {
        let mut given = arguments(statement);
        let (first, second, third) = (given.next(), given.next(), given.next());
        match statement.head() {
            Some("allow") => {
                self.types(second, within);
                self.access(third);
            }
            Some("allowx") => {
                self.types(second, within);
                self.class(third.and_then(|third| third.items().nth(1)));
            }
            Some("permissionx") => self.class(second.and_then(|list| list.items().nth(1))),
            Some("classpermissionset") => self.access(second),
            Some("typeattributeset" | "typealiasactual") => self.types(second, within),
            Some("call") => {
                for argument in second.into_iter().flat_map(Item::items) {
                    if class_permissions(argument).is_some() {
                        self.access(Some(argument));
                    } else {
                        self.types(Some(argument), within);
                    }
                }
            }
            Some("blockinherit") => {
                if let Some(block) = first.and_then(Item::name)
                    && let Some(reason) = system_profile(&Inherit::system(block), self.options)
                {
                    self.note(statement, reason);
                }
            }
            _ => {}
        }
    }

    fn types(&mut self, expression: Option<Item<'_, '_>>, within: Option<usize>) {
        let Some(expression) = expression else {
            return;
        };
        let Members { names, open: _ } = members(expression);
        for item in names {
            if let Some(name) = item.name()
                && !self.scope.is_declared(name, within)
            {
                self.name(What::Type, item, name);
            }
        }
    }

    fn access(&mut self, item: Option<Item<'_, '_>>) {
        let Some((class, permissions)) = item.and_then(class_permissions) else {
            return;
        };
        self.class(Some(class));
        let mut open: Vec<Item<'_, '_>> = permissions.items().collect();
        open.reverse();
        while let Some(item) = open.pop() {
            match item.name() {
                Some(name) => self.name(What::Permission, item, name),
                None => open.extend(item.items()),
            }
        }
    }

    fn class(&mut self, item: Option<Item<'_, '_>>) {
        if let Some(item) = item
            && let Some(name) = item.name()
        {
            self.name(What::Class, item, name);
        }
    }

    fn name(&mut self, what: What, item: Item<'_, '_>, name: &str) {
        if let Some(reason) = self.denied.reason(what, name) {
            self.note(item, reason);
        }
    }

    fn note(&mut self, item: Item<'_, '_>, (message, help): (String, String)) {
        let line = self.places.line(item.span().start);
        self.findings.push(Finding {
            path: "spec.policy".to_owned(),
            message: format!("{message} (line {line} of the policy)"),
            help: Some(help),
        });
    }
}
