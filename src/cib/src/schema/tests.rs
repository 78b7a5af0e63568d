use super::*;

fn cib(resources: &str, constraints: &str) -> Element {
    let text = format!(
        "<cib epoch='1' num_updates='0' admin_epoch='0' validate-with='pacemaker-3.9'><configuration><crm_config>\
        <cluster_property_set id='o'><nvpair id='o1' name='fencing-enabled' value='false'/></cluster_property_set></crm_config>\
        <nodes><node id='1' uname='d1'/><node id='2' uname='d2'/></nodes>\n<resources>{resources}</resources>\n\
        <constraints>{constraints}</constraints></configuration><status/></cib>"
    );
    xml::parse(&text).expect("well-formed")
}

const VIP: &str = "<primitive id='vip' class='ocf' provider='heartbeat' type='IPaddr2'><operations>\
    <op id='m' name='monitor' interval='10s'/></operations></primitive>";

fn messages(root: &Element) -> Vec<String> {
    verify(root).into_iter().map(|p| p.message).collect()
}

#[test]
fn a_sound_document_has_no_problems() {
    let location = "<rsc_location id='l' rsc='vip' node='d1' score='INFINITY'/>";
    assert_eq!(verify(&cib(VIP, location)), []);
}

#[test]
fn structure() {
    let one = |resources: &str, constraints: &str| {
        let problems = check(&cib(resources, constraints));
        assert!(!problems.is_empty(), "{resources} {constraints}");
        problems[0].message.clone()
    };
    assert_eq!(
        one("<primitve id='a'/>", ""),
        "element 'primitve' may not stand in 'resources' (expected primitive, group, clone, master, bundle, template)"
    );
    assert_eq!(one("<primitive id='a' class='ocf'/>", ""), "primitive needs class and type, or a template");
    assert_eq!(
        one("<primitive id='1a' class='lsb' type='x'/>", ""),
        "primitive id=\"1a\": expected an id: a letter or '_', then letters, digits, '-', '_' or '.'"
    );
    assert_eq!(
        one("<primitive id='a' class='lsb' tpye='x' type='x'/>", ""),
        "primitive has no attribute 'tpye'; did you mean 'type'?"
    );
    assert_eq!(one("<group id='g'>text</group>", ""), "text 'text' may not stand in 'group'");
    assert_eq!(one("<clone id='c'/>", ""), "clone contains neither a primitive nor a group");
    assert_eq!(
        one(VIP, "<rsc_location id='l' rsc='vpi' node='d1' score='1'/>"),
        "rsc_location rsc=\"vpi\": there is no element with id 'vpi'"
    );
    assert_eq!(
        one(VIP, "<rsc_location id='l' rsc='vip' node='d1' score='lots'/>"),
        "rsc_location score=\"lots\": expected an integer, INFINITY or -INFINITY"
    );
    assert_eq!(one(VIP, "<rsc_order id='o9' first='vip'/>"), "rsc_order needs first and then, or resource sets");
    assert_eq!(one(&format!("{VIP}{VIP}"), ""), "id 'vip' is already used by the primitive in line 2");
}

#[test]
fn positions() {
    let problems = check(&cib(VIP, "\n<rsc_order id='o9' first='vip' then='web'/>"));
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].line, problems[0].path.as_str()),
        (4, "/cib/configuration/constraints/rsc_order[@id='o9']")
    );
}

#[test]
fn likely_mistakes() {
    let monitor_twice = VIP.replace("</operations>", "<op id='m2' name='monitor' interval='10000ms'/></operations>");
    assert!(messages(&cib(&monitor_twice, ""))[0].starts_with("operation m2 is a duplicate of m"));
    assert_eq!(
        messages(&cib(VIP, "<rsc_location id='l' rsc='vip' node='d3' score='1'/>")),
        ["no node is called 'd3'; did you mean 'd1'?"]
    );
    let mut unfenced = cib(VIP, "");
    unfenced.find_id_mut("o1").expect("it is there").set("value", "true");
    assert_eq!(messages(&unfenced).len(), 1);
    let mut typo = cib("", "");
    typo.find_id_mut("o1").expect("it is there").set("name", "stonith-enabeld");
    assert_eq!(messages(&typo)[..1], ["unknown option 'stonith-enabeld'; did you mean 'stonith-enabled'?"]);
    let mut bad = cib("", "");
    bad.find_id_mut("o1").expect("it is there").set("value", "perhaps");
    assert_eq!(
        messages(&bad)[..1],
        ["fencing-enabled=\"perhaps\": expected a value of type boolean; the default (true) is used"]
    );
}
