use super::*;
use crate::parse;
use proptest::prelude::*;

const CIB: &str = "<cib><configuration><nodes><node id='1' uname='a'/><node id='2' uname='b'/></nodes><resources>\
    <group id='g'><primitive id='vip' class='ocf'><meta_attributes id='m'><nvpair id='m1' name='target-role' value='Stopped'/>\
    </meta_attributes></primitive><primitive id='web' class='lsb'/></group></resources></configuration>\
    <status><node_state uname='a'/></status></cib>";

fn names(expression: &str) -> Vec<String> {
    let root = parse(CIB).expect("well-formed");
    let path = Path::parse(expression).unwrap_or_else(|e| panic!("{expression}: {e}"));
    let found = path.find(&root).expect("small");
    found.iter().map(|at| root.at(at).and_then(|e| e.id().or(e.attr("uname"))).unwrap_or("?").to_owned()).collect()
}

#[test]
fn the_forms_that_tools_use() {
    assert_eq!(names("//primitive"), ["vip", "web"]);
    assert_eq!(names("/cib/configuration/resources//primitive[@id=\"web\"]"), ["web"]);
    assert_eq!(names("//*[@id='m1']"), ["m1"]);
    assert_eq!(names("//nvpair[@name='target-role' and @value='Stopped']/../.."), ["vip"]);
    assert_eq!(names("//primitive[meta_attributes/nvpair[@value='Stopped']]"), ["vip"]);
    assert_eq!(names("//node[2]"), ["2"]);
    assert_eq!(names("//node[last()] | //node[@uname='a']"), ["1", "2"]);
    assert_eq!(names("//primitive[not(@class='ocf') or contains(@id,'xx')]"), ["web"]);
    assert_eq!(names("//node_state[@uname='a']"), ["a"]);
    assert_eq!(names("//nvpair/ancestor::group"), ["g"]);
    assert_eq!(names("//*[name()='node'][starts-with(@uname,'b')]"), ["2"]);
    assert_eq!(names("//group[count(primitive)>1]"), ["g"]);
    assert_eq!(names("//primitive[@nothing]"), Vec::<String>::new());
}

#[test]
fn errors_say_where() {
    let error = Path::parse("//primitive[@id='x'").expect_err("unclosed");
    assert!(matches!(error, PathError::Syntax { column: 12, .. }), "{error:?}");
    assert!(Path::parse("").is_err());
    assert!(Path::parse("//a b").is_err());
    assert_eq!(Path::parse(&"[(".repeat(100)).expect_err("deep"), PathError::TooDeep);
}

#[test]
fn locations_name_elements_and_take_them_out() {
    let mut root = parse(CIB).expect("well-formed");
    let at = Path::parse("//primitive[@id='vip']").expect("path").find(&root).expect("small").remove(0);
    assert_eq!(root.path_of(&at), "/cib/configuration/resources/group[@id='g']/primitive[@id='vip']");
    assert_eq!(root.remove_at(&at).and_then(|e| e.id().map(str::to_owned)).as_deref(), Some("vip"));
    assert!(root.find_id("vip").is_none());
}

proptest! {
    #[test]
    fn no_expression_panics(text in "[/@\\[\\]()*.a-c'\"=|: and]{0,40}") {
        if let Ok(path) = Path::parse(&text) {
            let _ = path.find(&parse(CIB).expect("well-formed"));
        }
    }
}
