//! CIL as a tree of lists.

use std::ops::Range;

use super::balance::Repairs;
use super::flaws::Flaws;
use super::scan::{Kind, Token};

/// A text in CIL that was read.
#[derive(Clone, Debug)]
pub struct Tree<'s> {
    text: &'s str,
    /// Each list stands before what it holds.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
struct Node {
    form: Form,
    start: usize,
    end: usize,
    /// The index behind the last node inside of this one.
    next: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    List,
    /// A list of which a parenthesis is missing.
    Mended,
    /// The lines between two line marks.
    Marked,
    Word,
    Quoted,
}

impl<'s> Tree<'s> {
    /// The lists at the top.
    pub fn items(&self) -> impl Iterator<Item = Item<'_, 's>> {
        self.between(0, self.nodes.len())
    }

    /// The text that was read.
    pub fn text(&self) -> &'s str {
        self.text
    }

    /// All lists and names, each list before what it holds.
    pub(in crate::profile::selinux) fn all(&self) -> impl Iterator<Item = Item<'_, 's>> {
        (0..self.nodes.len()).map(|index| Item { tree: self, index })
    }

    fn between(&self, mut from: usize, to: usize) -> impl Iterator<Item = Item<'_, 's>> {
        std::iter::from_fn(move || {
            (from < to).then(|| {
                let item = Item {
                    tree: self,
                    index: from,
                };
                from = self.nodes[from].next;
                item
            })
        })
    }
}

/// A list, or a name.
#[derive(Clone, Copy, Debug)]
pub struct Item<'t, 's> {
    tree: &'t Tree<'s>,
    index: usize,
}

impl<'t, 's> Item<'t, 's> {
    /// Where it stands in the text, in bytes.
    pub fn span(self) -> Range<usize> {
        self.node().start..self.node().end
    }

    /// The name, if it is one; without quotes, as they mean nothing.
    pub fn name(self) -> Option<&'s str> {
        let text = &self.tree.text[self.span()];
        match self.node().form {
            Form::Word => Some(text),
            Form::Quoted => Some(text.trim_matches('"')),
            Form::List | Form::Mended | Form::Marked => None,
        }
    }

    /// What it holds, if it is a list.
    pub fn items(self) -> impl Iterator<Item = Item<'t, 's>> {
        let to = match self.node().form {
            Form::Word | Form::Quoted => self.index,
            Form::List | Form::Mended | Form::Marked => self.node().next,
        };
        self.tree.between(self.index + 1, to)
    }

    /// Whether it is a list.
    pub fn is_list(self) -> bool {
        matches!(self.node().form, Form::List | Form::Mended)
    }

    /// Whether it stands for the lines between two line marks, which a compiler of another
    /// language wrote. What it holds belongs to the list around it.
    pub fn is_marked(self) -> bool {
        self.node().form == Form::Marked
    }

    /// Whether a parenthesis was added to make it a list.
    pub(in crate::profile::selinux) fn is_mended(self) -> bool {
        self.node().form == Form::Mended
    }

    /// The first name of a list, which says what it is.
    pub fn head(self) -> Option<&'s str> {
        if !self.is_list() {
            return None;
        }
        self.items().next()?.name()
    }

    fn node(self) -> &'t Node {
        &self.tree.nodes[self.index]
    }
}

/// Builds the tree of tokens that match after the repairs.
pub(super) fn build<'s>(
    text: &'s str,
    tokens: &[Token],
    repairs: &Repairs,
    flaws: &mut Flaws<'_, '_>,
) -> Tree<'s> {
    let mut nodes = Vec::with_capacity(tokens.len());
    let mut open: Vec<usize> = Vec::new();
    let mut ends = repairs.ends.iter().peekable();
    let mut strays = repairs.strays.iter().peekable();
    for index in 0..=tokens.len() {
        while let Some((_, count)) = ends.next_if(|(before, _)| *before == index) {
            let mut count = *count;
            let at = tokens
                .get(index.wrapping_sub(1))
                .map_or(0, |last| last.span().end);
            while count > 0 {
                let Some(list) = open.pop() else { break };
                if let Form::List = nodes_form(&nodes, list) {
                    count -= 1;
                    set_form(&mut nodes, list, Form::Mended);
                }
                close(&mut nodes, list, at);
            }
        }
        let Some(token) = tokens.get(index) else {
            break;
        };
        let span = token.span();
        let form = match token.kind {
            Kind::Open => Form::List,
            Kind::Mark => Form::Marked,
            Kind::Word => Form::Word,
            Kind::Quoted => Form::Quoted,
            Kind::Close => {
                if strays.next_if(|stray| **stray == index).is_some() {
                    continue;
                }
                // Line marks that are open end with the list around them.
                while let Some(list) = open.pop() {
                    close(&mut nodes, list, span.end);
                    if nodes_form(&nodes, list) == Form::List {
                        break;
                    }
                    unclosed_mark(&nodes[list], flaws);
                }
                continue;
            }
            Kind::MarkEnd => {
                match open.pop_if(|list| nodes_form(&nodes, *list) == Form::Marked) {
                    Some(list) => close(&mut nodes, list, span.end),
                    None => {
                        flaws.error(span, "no line mark begins that ends here".to_owned(), None);
                    }
                }
                continue;
            }
        };
        if matches!(form, Form::List | Form::Marked) {
            open.push(nodes.len());
        }
        nodes.push(Node {
            form,
            start: span.start,
            end: span.end,
            next: nodes.len() + 1,
        });
    }
    for list in open.into_iter().rev() {
        close(&mut nodes, list, text.len());
        if nodes_form(&nodes, list) == Form::Marked {
            unclosed_mark(&nodes[list], flaws);
        }
    }
    Tree { text, nodes }
}

fn close(nodes: &mut [Node], list: usize, end: usize) {
    let next = nodes.len();
    if let Some(node) = nodes.get_mut(list) {
        node.next = next;
        if node.form != Form::Marked {
            node.end = end;
        }
    }
}

fn nodes_form(nodes: &[Node], index: usize) -> Form {
    nodes.get(index).map_or(Form::List, |node| node.form)
}

fn set_form(nodes: &mut [Node], index: usize, form: Form) {
    if let Some(node) = nodes.get_mut(index) {
        node.form = form;
    }
}

fn unclosed_mark(node: &Node, flaws: &mut Flaws<'_, '_>) {
    let help = "`;;* lme` must follow, in the same list";
    flaws.error(
        node.start..node.end,
        "the line mark is not ended".to_owned(),
        Some(help.to_owned()),
    );
}
