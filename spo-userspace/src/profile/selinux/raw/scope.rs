//! Which names of a policy are the profile's own.
//!
//! A type that the policy declares is its own. An attribute, an alias or a parameter of a macro is
//! so only as long as it can stand for nothing else: what is foreign spreads from a member to the
//! attribute, and from an argument to the parameter.

use std::collections::{HashMap, HashSet};

use super::{arguments, body, statements};
use crate::profile::selinux::cil::{Item, Tree};
use crate::profile::suggest::nearest;

/// With more types than these, none is suggested for another.
const MOST_COMPARED: usize = 100;

/// The names of a policy.
pub(super) struct Scope<'t, 's> {
    block: String,
    names: HashMap<&'s str, usize>,
    pub(super) macros: Vec<Macro<'t, 's>>,
    by_name: HashMap<&'s str, usize>,
    /// Names of other kinds than types that are declared here.
    others: HashSet<&'s str>,
    is_parameter: Vec<bool>,
    /// Whether a name can stand for something foreign.
    foreign: Vec<bool>,
    /// To whom that spreads.
    spreads: Vec<Vec<usize>>,
    pub(super) inherits: bool,
}

/// A macro that the policy defines.
pub(super) struct Macro<'t, 's> {
    pub(super) name: &'s str,
    pub(super) definition: Item<'t, 's>,
    parameters: Vec<usize>,
    names: HashMap<&'s str, usize>,
}

/// The members of an attribute.
pub(super) struct Members<'t, 's> {
    pub(super) names: Vec<Item<'t, 's>>,
    /// Where the expression takes in whatever there is.
    pub(super) open: Option<Item<'t, 's>>,
}

impl<'t, 's> Scope<'t, 's> {
    /// The names of a policy for a block of this name.
    pub(super) fn new(block: &str, tree: &'t Tree<'s>) -> Self {
        let mut scope = Self {
            block: block.to_owned(),
            names: HashMap::new(),
            macros: Vec::new(),
            by_name: HashMap::new(),
            others: HashSet::new(),
            is_parameter: Vec::new(),
            foreign: Vec::new(),
            spreads: Vec::new(),
            inherits: false,
        };
        for statement in statements(tree) {
            let first = arguments(statement).next().and_then(Item::name);
            match (statement.head(), first) {
                (Some("type" | "typeattribute" | "typealias"), Some(name)) => scope.declare(name),
                (Some("classpermission" | "roleattribute" | "userattribute"), Some(name)) => {
                    scope.others.insert(name);
                }
                (Some("blockinherit"), _) => {
                    scope.inherits = true;
                    // Every block that profiles inherit declares it.
                    scope.declare("process");
                }
                (Some("macro"), Some(name)) => scope.define(name, statement),
                _ => {}
            }
        }
        for statement in statements(tree) {
            scope.connect(statement, None);
        }
        for index in 0..scope.macros.len() {
            for statement in body(scope.macros[index].definition) {
                scope.connect(statement, Some(index));
            }
        }
        scope.spread();
        scope
    }

    /// Whether a name of a type or an attribute stands for the profile's own types only. `within`
    /// is the macro in which it stands.
    pub(super) fn is_own(&self, name: &str, within: Option<usize>) -> bool {
        self.node(name, within)
            .is_some_and(|node| !self.foreign[node])
    }

    /// Whether the policy declares the name, whatever it stands for.
    pub(super) fn is_declared(&self, name: &str, within: Option<usize>) -> bool {
        self.node(name, within).is_some()
    }

    /// Whether a statement may change what the name stands for: the policy declares it. A parameter
    /// is not declared, but may stand for what is.
    pub(super) fn may_change(&self, name: &str, within: Option<usize>) -> bool {
        match self.node(name, within) {
            Some(node) => !self.is_parameter[node] || !self.foreign[node],
            None => self
                .local(name)
                .is_some_and(|name| self.others.contains(name)),
        }
    }

    /// The own type that was likely meant.
    pub(super) fn suggest(&self, name: &str) -> Option<&'s str> {
        if self.names.len() > MOST_COMPARED {
            return None;
        }
        let mut names: Vec<&str> = self.names.keys().copied().collect();
        names.sort_unstable();
        nearest(name, names).filter(|near| *near != name)
    }

    /// The macro of a name, if the policy defines it.
    pub(super) fn find_macro(&self, name: &str) -> Option<usize> {
        self.by_name.get(self.local(name)?).copied()
    }

    /// The name inside of the block, if it can be one.
    fn local<'n>(&self, name: &'n str) -> Option<&'n str> {
        let unqualified = name.strip_prefix('.').unwrap_or(name);
        match unqualified.split_once('.') {
            // The underscore is how the block was called earlier.
            Some((block, local)) => (block.strip_suffix('_').unwrap_or(block) == self.block
                || block == self.block)
                .then_some(local),
            None => (unqualified.len() == name.len()).then_some(name),
        }
    }

    fn node(&self, name: &str, within: Option<usize>) -> Option<usize> {
        let inner = within.and_then(|index| self.macros[index].names.get(name));
        inner.or_else(|| self.names.get(self.local(name)?)).copied()
    }

    fn add(&mut self, is_parameter: bool) -> usize {
        self.is_parameter.push(is_parameter);
        self.foreign.push(false);
        self.spreads.push(Vec::new());
        self.foreign.len() - 1
    }

    fn declare(&mut self, name: &'s str) {
        if !self.names.contains_key(name) {
            let node = self.add(false);
            self.names.insert(name, node);
        }
    }

    fn define(&mut self, name: &'s str, definition: Item<'t, 's>) {
        let mut names = HashMap::new();
        let mut parameters = Vec::new();
        let list = definition.items().nth(2);
        for parameter in list.into_iter().flat_map(Item::items) {
            let node = self.add(true);
            parameters.push(node);
            if let Some(name) = parameter.items().nth(1).and_then(Item::name) {
                names.insert(name, node);
            }
        }
        for statement in body(definition) {
            if let Some("type" | "typeattribute" | "typealias") = statement.head()
                && let Some(name) = arguments(statement).next().and_then(Item::name)
                && !names.contains_key(name)
            {
                let node = self.add(false);
                names.insert(name, node);
            }
        }
        self.by_name.entry(name).or_insert(self.macros.len());
        self.macros.push(Macro {
            name,
            definition,
            parameters,
            names,
        });
    }

    /// Notes what a statement lets a name stand for.
    fn connect(&mut self, statement: Item<'t, 's>, within: Option<usize>) {
        let mut given = arguments(statement);
        let first = given.next();
        let second = given.next();
        match (statement.head(), first.and_then(Item::name), second) {
            (Some("typeattributeset" | "typealiasactual"), Some(name), Some(expression)) => {
                if let Some(node) = self.node(name, within) {
                    self.may_be(node, expression, within);
                }
            }
            (Some("call"), Some(name), Some(list)) => {
                if let Some(called) = self.find_macro(name) {
                    let parameters = self.macros[called].parameters.clone();
                    for (parameter, argument) in parameters.into_iter().zip(list.items()) {
                        self.may_be(parameter, argument, within);
                    }
                }
            }
            _ => {}
        }
    }

    fn may_be(&mut self, node: usize, expression: Item<'t, 's>, within: Option<usize>) {
        let Members { names, open } = members(expression);
        if open.is_some() {
            self.foreign[node] = true;
        }
        for name in names {
            match name.name().and_then(|name| self.node(name, within)) {
                Some(member) => self.spreads[member].push(node),
                None => self.foreign[node] = true,
            }
        }
    }

    fn spread(&mut self) {
        let mut open: Vec<usize> = (0..self.foreign.len())
            .filter(|node| self.foreign[*node])
            .collect();
        while let Some(node) = open.pop() {
            for next in std::mem::take(&mut self.spreads[node]) {
                if !self.foreign[next] {
                    self.foreign[next] = true;
                    open.push(next);
                }
            }
        }
    }
}

/// What an expression of types can stand for: at most the names in it. What an `and` leaves out
/// does not count.
pub(super) fn members<'t, 's>(expression: Item<'t, 's>) -> Members<'t, 's> {
    let mut found = Members {
        names: Vec::new(),
        open: None,
    };
    let mut open = vec![expression];
    while let Some(item) = open.pop() {
        match (item.name(), item.head()) {
            (Some("all" | "*" | "?"), _) | (None, Some("not")) => found.open = Some(item),
            (Some(_), _) => found.names.push(item),
            (None, Some("and")) => {
                let operands = arguments(item);
                let before = open.len();
                open.extend(operands.filter(|operand| operand.head() != Some("not")));
                if open.len() == before {
                    found.open = Some(item);
                }
            }
            (None, Some("or" | "xor")) => open.extend(arguments(item)),
            (None, _) => open.extend(item.items()),
        }
    }
    found
}
