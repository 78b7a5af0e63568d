//! What may be typed next, for a shell's completion of `pcs` and `crm`: words of the table, and names that exist.

use crate::crm_resource::listing;
use crate::grammar::Table;
use crate::source::Source;
use std::collections::BTreeSet;
use xml::Element;

/// The word that asks for it, before the words that stand there already.
pub const ASKS: &str = "--complete";

/// For bash: both commands ask themselves.
pub const BASH: &str = r#"
_bascule_names() {
    local words=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
    COMPREPLY=($(compgen -W "$("$1" --complete "${words[@]}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _bascule_names pcs crm
"#;

/// One candidate a line.
pub fn next(table: &Table, words: &[String]) -> String {
    let (mut all, kinds) = table.next(words);
    if kinds.iter().any(|k| k.contains("AGENT")) {
        all.extend(listing::all_ocf().lines().map(str::to_owned));
    }
    let named = |k: &&str| NAMED.iter().any(|(word, _)| k.contains(word));
    if kinds.iter().any(named)
        && let Ok(cib) = Source::open().cib()
    {
        all.extend(kinds.iter().flat_map(|kind| of_kind(&cib, kind)));
    }
    all.iter().map(|word| format!("{word}\n")).collect()
}

/// What an argument's name in the table says that it is: the elements whose names fit.
const NAMED: [(&str, &[&str]); 8] = [
    ("NODE", &["node"]),
    ("TARGET", &["node"]),
    ("ID", &["primitive", "group", "clone", "master", "bundle"]),
    ("RESOURCE", &["primitive", "group", "clone", "master", "bundle"]),
    ("MEMBER", &["primitive"]),
    ("GROUP", &["group"]),
    ("TAG", &["tag"]),
    ("ROLE", &["acl_role"]),
];

fn of_kind(cib: &Element, kind: &str) -> BTreeSet<String> {
    let Some((_, elements)) = NAMED.iter().find(|(word, _)| kind.contains(word)) else { return BTreeSet::new() };
    let configuration = cib.child("configuration").into_iter().flat_map(Element::descendants);
    let fitting = configuration.filter(|e| elements.contains(&e.name()));
    fitting.filter_map(|e| e.attr("uname").or(e.id())).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_kind() {
        let cib = xml::parse(
            "<cib><configuration><nodes><node id='1' uname='d1'/></nodes><resources><group id='g'><primitive id='p'/></group>\
             </resources><constraints><rsc_location id='l' rsc='p' node='d1'/></constraints></configuration></cib>",
        );
        let cib = cib.expect("good");
        let of = |kind| of_kind(&cib, kind).into_iter().collect::<Vec<_>>();
        assert_eq!(of("ID"), ["g", "p"]);
        assert_eq!(of("NODE"), ["d1"]);
        assert_eq!(of("GROUP"), ["g"]);
        assert!(of("SCORE").is_empty());
    }
}
