//! Each rule on the least document that it concerns, and what holds of every upgrade.

use super::*;

fn cib(schema: &str, inner: &str) -> Element {
    let text = format!("<cib validate-with='{schema}'><configuration>{inner}</configuration><status/></cib>");
    xml::parse(&text).expect("well-formed")
}

/// The configuration after the upgrade, and what was said of it.
fn after(schema: &str, inner: &str) -> (String, Vec<String>) {
    let upgraded = upgraded(&cib(schema, inner));
    assert_eq!(upgraded.cib.attr("validate-with"), Some(crate::SCHEMA));
    let configuration = upgraded.cib.child("configuration").expect("it stays");
    let text: String = configuration.elements().map(Element::to_compact).collect();
    (text.replace('"', "'"), upgraded.notices.iter().map(Notice::to_string).collect())
}

fn becomes(schema: &str, before: &str, expected: &str) {
    assert_eq!(after(schema, before).0, expected, "from {schema}: {before}");
}

#[test]
fn rights_become_permissions() {
    becomes(
        "pacemaker-1.3",
        "<acls><acl_user id='u'><read id='r' xpath='//x' attribute='a'/><deny id='d' tag='node' attribute='b'/></acl_user>\
         <acl_user id='v'><role_ref id='w'/></acl_user><acl_role id='w'><write id='y' ref='z'/></acl_role></acls>",
        "<acls><acl_target id='u'><role id='auto-u'/></acl_target><acl_role id='auto-u'>\
         <acl_permission id='r' kind='read' xpath='//x[@a]'/>\
         <acl_permission id='d' kind='deny' object-type='node' attribute='b'/></acl_role>\
         <acl_target id='v'><role id='w'/></acl_target>\
         <acl_role id='w'><acl_permission id='y' kind='write' xpath='/nothing'/></acl_role></acls>",
    );
}

#[test]
fn names_with_underscores_are_gone_since_3() {
    let set =
        |pairs: &str| format!("<crm_config><cluster_property_set id='s'>{pairs}</cluster_property_set></crm_config>");
    let (text, said) = after("pacemaker-2.10", &set("<nvpair id='a' name='no_quorum_policy' value='stop'/>"));
    assert_eq!(text, set("<nvpair id='a' name='no-quorum-policy' value='stop'/>"));
    assert_eq!(said, ["DEBUG: Cluster properties: a: renaming no_quorum_policy as no-quorum-policy"]);
    becomes(
        "pacemaker-3.0",
        &set("<nvpair id='a' name='no_quorum_policy' value='stop'/>"),
        &set("<nvpair id='a' name='no_quorum_policy' value='stop'/>"),
    );
}

#[test]
fn defaults_move_to_where_defaults_stand() {
    let (text, said) = after(
        "pacemaker-2.10",
        "<crm_config><cluster_property_set id='s'><nvpair id='a' name='default-resource-stickiness' value='5'/>\
         <nvpair id='b' name='default-action-timeout' value='9s'/>\
         <nvpair id='c' name='default_resource_failure_stickiness' value='-INFINITY'/>\
         <nvpair id='d' name='expected-quorum-votes' value='2'/></cluster_property_set></crm_config>\
         <rsc_defaults><meta_attributes id='m'><nvpair id='e' name='is-managed' value='true'/></meta_attributes></rsc_defaults>",
    );
    assert_eq!(
        text,
        "<crm_config/><rsc_defaults><meta_attributes id='m'><nvpair id='e' name='is-managed' value='true'/>\
         <nvpair id='a' name='resource-stickiness' value='5'/><nvpair id='c' name='migration-threshold' value='1'/>\
         </meta_attributes></rsc_defaults><op_defaults><meta_attributes id='_2TO3_-op-defaults'>\
         <nvpair id='b' name='timeout' value='9s'/></meta_attributes></op_defaults>"
    );
    assert_eq!(said.len(), 5, "{said:?}");
    assert!(said[3].starts_with("INFO: Cluster properties: d: dropping"), "{said:?}");
}

#[test]
fn requires_is_the_resources() {
    let primitive = |meta: &str, op: &str| {
        format!(
            "<resources><primitive id='a'><operations><op id='o' name='start' {op}/></operations>{meta}</primitive></resources>"
        )
    };
    becomes(
        "pacemaker-2.10",
        &primitive("", "requires='quorum'"),
        "<resources><primitive id='a'><operations><op id='o' name='start'/></operations><meta_attributes id='_2TO3_a-meta'>\
         <nvpair id='_2TO3_o-meta-requires' name='requires' value='quorum'/></meta_attributes></primitive></resources>",
    );
    let own = "<meta_attributes id='m'><nvpair id='r' name='requires' value='nothing'/></meta_attributes>";
    let (text, _) = after("pacemaker-2.10", &primitive(own, "requires='quorum'"));
    assert!(text.contains("value='nothing'") && !text.contains("quorum"), "what is set already stays: {text}");
}

#[test]
fn parameters_of_fence_devices_and_dead_attributes() {
    becomes(
        "pacemaker-2.10",
        "<nodes><node id='1' uname='n' type='normal'/></nodes><resources><primitive id='f'><instance_attributes id='i'>\
         <nvpair id='a' name='pcmk_off_cmd' value='off'/><nvpair id='b' name='pcmk_arg_map' value='port:uuid'/>\
         <nvpair id='c' name='pcmk_arg_map' value='x:y'/></instance_attributes></primitive></resources>\
         <constraints><rsc_colocation id='c1' score-attribute='x'/></constraints>",
        "<nodes><node id='1' uname='n' type='member'/></nodes><resources><primitive id='f'><instance_attributes id='i'>\
         <nvpair id='a' name='pcmk_off_action' value='off'/><nvpair id='b' name='pcmk_host_argument' value='uuid'/>\
         </instance_attributes></primitive></resources><constraints><rsc_colocation id='c1'/></constraints>",
    );
}

#[test]
fn of_each_name_the_pair_that_counts_stays() {
    let set = |pairs: &[&str]| {
        let pair = |(i, v): (usize, &&str)| format!("<nvpair id='p{i}' name='n' value='{v}'/>");
        let all: String = pairs.iter().enumerate().filter(|(_, v)| !v.is_empty()).map(pair).collect();
        format!("<rsc_defaults><meta_attributes id='m'>{all}</meta_attributes></rsc_defaults>")
    };
    for (before, after) in [
        (&["1", "2"][..], &["1", ""][..]),
        (&["1", "#default", "3"], &["", "", "3"]),
        (&["1", "#default"], &["", "#default"]),
        (&["#default", "#default"], &["", "#default"]),
        (&["#default", "2", "3"], &["", "2", ""]),
    ] {
        becomes("pacemaker-3.10", &set(before), &set(after));
    }
}

#[test]
fn references_stay_references_or_become_the_definition() {
    becomes(
        "pacemaker-3.9",
        "<resources><primitive id='old' class='upstart' type='x'><meta_attributes id='m'>\
         <nvpair id='p' name='n' value='1'/></meta_attributes></primitive>\
         <primitive id='a' class='lsb' type='x'><meta_attributes id-ref='m'/></primitive>\
         <primitive id='b' class='lsb' type='x'><meta_attributes id-ref='m'/></primitive></resources>",
        "<resources><primitive id='a' class='lsb' type='x'><meta_attributes id='m'>\
         <nvpair id='p' name='n' value='1'/></meta_attributes></primitive>\
         <primitive id='b' class='lsb' type='x'><meta_attributes id-ref='m'/></primitive></resources>",
    );
    becomes(
        "pacemaker-3.9",
        "<resources><primitive id='a'><instance_attributes id='i'><nvpair id='p' name='n' value='1'/>\
         <nvpair id-ref='p' name='other'/></instance_attributes></primitive></resources>",
        "<resources><primitive id='a'><instance_attributes id='i'><nvpair id='p' name='n' value='1'/>\
         <nvpair id='pcmk__3_10_upgrade-p-other' name='other' value='1'/></instance_attributes></primitive></resources>",
    );
}

#[test]
fn several_rules_are_several_locations() {
    let rule = |id: &str| format!("<rule id='{id}' score='1'/>");
    let before = format!(
        "<constraints><rsc_location id='l'><resource_set id='s'><resource_ref id='a'/></resource_set>{}{}</rsc_location>\
         </constraints><acls><acl_role id='r'><acl_permission id='p' kind='read' reference='l'/></acl_role></acls>",
        rule("x"),
        rule("y")
    );
    let expected = format!(
        "<constraints><rsc_location id='pcmk__3_10_upgrade-l-1'><resource_set id='s'><resource_ref id='a'/></resource_set>{}\
         </rsc_location><rsc_location id='pcmk__3_10_upgrade-l-2'><resource_set id-ref='s'/>{}</rsc_location></constraints>\
         <acls><acl_role id='r'><acl_permission id='p' kind='read' xpath='//*[@id = 'pcmk__3_10_upgrade-l-1' or \
         @id = 'pcmk__3_10_upgrade-l-2']'/></acl_role></acls>",
        rule("x"),
        rule("y")
    );
    let (text, _) = after("pacemaker-3.9", &before);
    assert_eq!(text.replace("&apos;", "'"), expected);
}

#[test]
fn a_lifetime_is_a_condition_of_a_location_and_nothing_elsewhere() {
    becomes(
        "pacemaker-3.9",
        "<constraints><rsc_location id='l' rsc='a' node='n' score='5'><lifetime><rule id='t'/><rule id='u'/></lifetime>\
         </rsc_location></constraints>",
        "<constraints><rsc_location id='l' rsc='a'><rule id='pcmk__3_10_upgrade-l-lifetime-and-rule' boolean-op='and'>\
         <rule id='pcmk__3_10_upgrade-l-node-score-rule' score='5'>\
         <expression id='pcmk__3_10_upgrade-l-node-score-rule-expr' attribute='#uname' operation='eq' value='n'/></rule>\
         <rule id='pcmk__3_10_upgrade-l-lifetime-or-rule' boolean-op='or'><rule id='t'/><rule id='u'/></rule></rule>\
         </rsc_location></constraints>",
    );
    let (text, said) = after(
        "pacemaker-3.9",
        "<constraints><rsc_order id='o' first='a' then='b'><lifetime><rule id='t'/></lifetime></rsc_order>\
         <rsc_location id='l' rsc='a'><rule id-ref='t'/></rsc_location></constraints>",
    );
    assert!(text.contains("<rsc_order id='o' first='a' then='b'/>"), "{text}");
    assert_eq!(text.matches("<rule id='t'/>").count(), 1, "a rule in use is kept: {text}");
    assert!(said[0].starts_with("WARNING: Dropping lifetime element from constraint o"), "{said:?}");
}

#[test]
fn pings_masters_and_settings() {
    becomes(
        "pacemaker-3.9",
        "<crm_config><cluster_property_set id='s'><nvpair id='a' name='stonith-action' value='poweroff'/>\
         <nvpair id='b' name='crmd-transition-delay' value='1s'/><nvpair id='c' name='remove-after-stop' value='true'/>\
         </cluster_property_set></crm_config><nodes><node id='3' uname='n3' type='ping'/></nodes>\
         <resources><master id='m'><primitive id='p'/></master><bundle id='b1'><docker image='i' masters='1'/></bundle></resources>\
         <fencing-topology><fencing-level id='f' index='10'/><fencing-level id='g' index='9'/></fencing-topology>",
        "<crm_config><cluster_property_set id='s'><nvpair id='a' name='stonith-action' value='off'/>\
         <nvpair id='b' name='transition-delay' value='1s'/></cluster_property_set></crm_config>\
         <nodes><node id='3' uname='n3' type='member'/></nodes>\
         <resources><clone id='m'><meta_attributes id='pcmk__3_10_upgrade-promotable-legacy-m-meta_attributes' score='INFINITY'>\
         <nvpair id='pcmk__3_10_upgrade-promotable-legacy-m-meta_attributes-promotable' name='promotable' value='true'/>\
         </meta_attributes><primitive id='p'/></clone><bundle id='b1'><docker image='i' promoted-max='1'/></bundle></resources>\
         <fencing-topology><fencing-level id='g' index='9'/></fencing-topology>\
         <constraints><rsc_location id='pcmk__3_10_upgrade-ping-node-ban-n3' rsc-pattern='.*' node='n3' score='-INFINITY' \
         resource-discovery='never'/></constraints>",
    );
}

#[test]
fn what_is_gone_takes_along_what_was_about_it() {
    let (text, said) = after(
        "pacemaker-3.9",
        "<resources><template id='t' class='nagios' type='x'/><group id='g'><primitive id='a' template='t'/></group>\
         <bundle id='r'><rkt image='i'/></bundle><primitive id='b' class='lsb' type='x'><meta_attributes id='m'>\
         <nvpair id='n' name='restart-type' value='restart'/></meta_attributes></primitive></resources>\
         <constraints><rsc_order id='o' first='g' then='b'/><rsc_colocation id='c'><resource_set id='s'><resource_ref id='a'/>\
         </resource_set></rsc_colocation><rsc_ticket id='k' rsc='b' ticket='x'/></constraints>",
    );
    assert_eq!(
        text,
        "<resources><primitive id='b' class='lsb' type='x'><meta_attributes id='m'/></primitive></resources>\
         <constraints><rsc_ticket id='k' rsc='b' ticket='x'/></constraints>"
    );
    assert_eq!(
        said,
        [
            "WARNING: Dropping restart-type meta-attribute from m because it is no longer supported. Consider setting the \
             \"kind\" attribute for relevant constraints",
            "WARNING: Dropping template t because nagios resources are no longer supported",
            "WARNING: Dropping resource a because nagios resources are no longer supported",
            "INFO: Dropping group g because it would become empty",
            "WARNING: Dropping bundle resource r because rkt containers are no longer supported",
        ]
    );
}

#[test]
fn an_upgraded_document_needs_no_other_and_an_unchecked_one_gets_none() {
    let old = "<resources><master id='m'><primitive id='p' class='lsb' type='x'/></master></resources>";
    let once = upgraded(&cib("pacemaker-1.0", old)).cib;
    assert!(upgraded(&once).cib.is_same(&once));
    assert_eq!(crate::schema::check(&once), []);
    let unchecked = cib("none", old);
    assert!(upgraded(&unchecked).cib.is_same(&unchecked));
    let next = cib("pacemaker-3.9", "<resources/>");
    let same = upgraded(&next).cib;
    assert!(same.child("configuration").zip(next.child("configuration")).is_some_and(|(a, b)| a.is_same(b)));
}

#[test]
fn what_only_older_schemas_have_is_refused_under_the_newest_with_its_place() {
    let old = "<resources><master id='m'><primitive id='p' class='lsb' type='x'/></master></resources>";
    assert_eq!(crate::schema::admit(&cib("pacemaker-3.9", old)), Ok(()));
    let problems = crate::schema::admit(&cib("pacemaker-4.0", old)).expect_err("no longer allowed");
    assert_eq!((problems.len(), problems[0].line > 0), (1, true));
    assert!(problems[0].message.contains("cibadmin --upgrade"), "{}", problems[0].message);
    for unknown in ["pacemaker-next", "pacemaker-9.9", "pacemaker-3.11", "pacemaker-03.1", "anything"] {
        assert!(crate::schema::admit(&cib(unknown, "")).is_err(), "{unknown}");
    }
}
