//! What a source file declares for C, and in which order: found line by line, since rustfmt has laid them out.
//!
//! Nothing is understood here but the first line of an item.

/// One source file.
pub(crate) struct Source {
    /// The first line of its `//!`: what the section is about.
    pub(crate) title: String,
    pub(crate) items: Vec<Item>,
}

/// One item that C will see.
pub(crate) struct Item {
    pub(crate) name: String,
    /// An empty line stands before it, comment included.
    pub(crate) after_gap: bool,
    /// It is a function, to stand in its file's section.
    pub(crate) is_function: bool,
    /// It is a constant of an unsigned type: of any but dari_status_t.
    pub(crate) is_unsigned: bool,
}

/// Reads the items of a file.
pub(crate) fn scan(text: &str) -> Source {
    let title = text.lines().next().unwrap_or_default().trim_start_matches("//!").trim().to_owned();
    let mut source = Source { title, items: Vec::new() };
    let mut after_gap = true;
    for line in text.lines() {
        let is_comment_of_item = line.starts_with("///") || line.starts_with("#[");
        if let Some(item) = item(line, after_gap) {
            source.items.push(item);
        }
        if !is_comment_of_item {
            after_gap = line.is_empty();
        }
    }
    source
}

fn item(line: &str, after_gap: bool) -> Option<Item> {
    let declaration = line.strip_prefix("pub ")?;
    let (_, function) = declaration.split_once("extern \"C\" fn ").unzip();
    let constant = declaration.strip_prefix("const ");
    let kind = declaration.strip_prefix("type ").or(declaration.strip_prefix("struct "));
    let rest = function.or(constant).or(kind)?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?.to_owned();
    let is_unsigned = constant.is_some() && !rest.contains("dari_status_t");
    Some(Item { name, after_gap, is_function: function.is_some(), is_unsigned })
}
