//! Puts cbindgen's declarations into the order of the sources: types first, then a section of functions a file.
//!
//! A declaration is moved and its lines are broken; its words stay as they are.

use crate::source::{Item, Source};
use std::collections::HashMap;

/// No line is longer.
const WIDTH: usize = 100;
/// The line above and below the title of a section.
const RULE: &str = "// ----------------------------------------------------------------------------";

/// The header in reading order. An error if a declaration is in no source, or an item in no declaration.
pub(crate) fn arrange(generated: &str, sources: &[Source]) -> Result<String, String> {
    let mut front = Vec::new();
    let mut back = Vec::new();
    let mut declared = HashMap::new();
    for block in generated.split("\n\n").map(|block| block.trim_matches('\n')).filter(|block| !block.is_empty()) {
        if let Some(name) = name(block).filter(|name| !name.starts_with("DARI_API") && !front_matter(name)) {
            declared.insert(name, block);
        } else if declared.is_empty() {
            front.push(block);
        } else {
            back.push(block);
        }
    }
    let mut out = front.join("\n\n") + "\n";
    for item in sources.iter().flat_map(|source| &source.items).filter(|item| !item.is_function) {
        add(&mut out, item, &mut declared)?;
    }
    let mut back = back.into_iter();
    out += &format!("\n{}\n", back.next().ok_or("no extern \"C\"")?);
    for source in sources {
        let mut functions = source.items.iter().filter(|item| item.is_function).peekable();
        if functions.peek().is_some() {
            out += &format!("\n{RULE}\n// {}\n{RULE}\n", source.title);
        }
        for item in functions {
            add(&mut out, item, &mut declared)?;
        }
    }
    for block in back {
        out += &format!("\n{block}\n");
    }
    match (declared.keys().next(), out.lines().find(|line| line.chars().count() > WIDTH)) {
        (Some(name), _) => Err(format!("{name} is declared, but in no source that is in the list")),
        (_, Some(line)) => Err(format!("a line is too long: {line}")),
        _ => Ok(out),
    }
}

fn add(out: &mut String, item: &Item, declared: &mut HashMap<&str, &str>) -> Result<(), String> {
    let block = declared.remove(item.name.as_str());
    let block = block.ok_or_else(|| format!("{} is in a source, but not declared", item.name))?;
    if item.after_gap {
        out.push('\n');
    }
    for line in block.lines() {
        match line.strip_prefix("#define ").and_then(|rest| rest.split_once(' ')) {
            Some((name, value)) => *out += &format!("#define {name} {}", constant(value, item.is_unsigned)),
            None if line.starts_with("DARI_API") || is_hook(line) => *out += &wrap(line),
            None => *out += line,
        }
        out.push('\n');
    }
    Ok(())
}

/// The name that a block declares.
fn name(block: &str) -> Option<&str> {
    let mut lines = block.lines().skip_while(|line| line.starts_with("//"));
    let first = lines.next()?;
    if let Some(rest) = first.strip_prefix("#define ") {
        return rest.split(' ').next();
    }
    if first.starts_with("DARI_API") {
        return first.split('(').next()?.rsplit([' ', '*']).next();
    }
    first.strip_prefix("typedef")?;
    block.lines().last()?.strip_suffix(';')?.rsplit([' ', '*']).next()
}

/// The macros that come from cbindgen.toml as they are.
fn front_matter(name: &str) -> bool {
    name == "DARI_H" || name.starts_with("DARI_VERSION_")
}

/// A number as C should see it in any expression.
fn constant(value: &str, is_unsigned: bool) -> String {
    if value.starts_with('-') {
        format!("({value})")
    } else if is_unsigned && value.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{value}u")
    } else {
        value.to_owned()
    }
}

/// A field that points to a function.
fn is_hook(line: &str) -> bool {
    line.starts_with(' ') && line.contains(")(")
}

/// Breaks a prototype behind commas, and lines its parameters up.
fn wrap(prototype: &str) -> String {
    let mut out = String::new();
    fill(&mut out, 0, prototype);
    out
}

/// Appends `text`, which begins in `column` and is a list in parentheses with something before and behind.
fn fill(out: &mut String, column: usize, text: &str) {
    let open = match text.rfind(")(").map(|at| at + 1).filter(|_| !text.starts_with("DARI_API")) {
        Some(inner) => Some(inner),
        None => text.find('('),
    };
    let Some(open) = open.filter(|_| column + text.len() > WIDTH) else {
        *out += text;
        return;
    };
    let (head, rest) = text.split_at(open + 1);
    *out += head;
    let indent = column + head.len();
    let mut at = indent;
    for (n, parameter) in parameters(rest).into_iter().enumerate() {
        let fits = at + 1 + parameter.len() <= WIDTH;
        if n > 0 && fits {
            out.push(' ');
            at += 1;
        } else if n > 0 {
            *out += &format!("\n{:indent$}", "");
            at = indent;
        }
        fill(out, at, parameter);
        at += if at + parameter.len() > WIDTH { WIDTH } else { parameter.len() };
    }
}

/// Splits behind the commas that are in no parentheses of their own; commas stay.
fn parameters(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, char) in list.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..=at]);
                start = at + 2;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_prototype_is_broken_behind_commas_and_inside_a_callback_that_is_too_long() {
        let prototype = "DARI_API dari_status_t dari_watch_new(dari_loop_t *loop, int32_t fd, uint32_t events, \
            void (*ready)(void *user, dari_loop_t *loop, dari_watch_t watch, uint32_t events), void *user);";
        let lines = wrap(prototype);
        assert!(lines.lines().all(|line| line.len() <= WIDTH), "{lines}");
        assert_eq!(lines.split_whitespace().collect::<Vec<_>>(), prototype.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn a_long_hook_is_broken_behind_commas_and_a_short_one_is_left_alone() {
        let hook = "    void (*part)(void *user, dari_loop_t *loop, dari_conn_t conn, const dari_message_t *part, uint32_t last);";
        assert!(is_hook(hook));
        assert_eq!(wrap(hook).lines().nth(1), Some("                 uint32_t last);"));
        let short = "    void (*open)(void *user, dari_loop_t *loop, dari_conn_t conn);";
        assert_eq!(wrap(short), short);
    }

    #[test]
    fn constants_are_safe_in_any_expression() {
        assert_eq!(constant("-3", false), "(-3)");
        assert_eq!(constant("3", true), "3u");
        assert_eq!(constant("SIZE_MAX", true), "SIZE_MAX");
    }

    #[test]
    fn a_block_is_known_by_what_it_declares() {
        assert_eq!(name("// One.\n#define DARI_OK 0"), Some("DARI_OK"));
        assert_eq!(name("typedef struct {\n    int a;\n} dari_a_t;"), Some("dari_a_t"));
        assert_eq!(name("DARI_API const char *dari_b(void);"), Some("dari_b"));
        assert_eq!(name("#ifdef __cplusplus"), None);
    }
}
