//! Values of the cluster's own parameters of fence devices (`pcmk_*`) that mean nothing: the cluster would go on with its default,
//! and the operator would learn of it when a node has to be fenced.

use base::text::parse_interval_ms;

/// Longest delay that the cluster obeys, and what it is called.
const MAX_DELAY: (u64, &str) = (600_000, "10 minutes");
const MAX_TRIES: u32 = 100;

/// What the value should have been; `None` where it will do, and for parameters that are the agent's.
pub fn expected(name: &str, value: &str) -> Option<String> {
    let own = name.strip_prefix("pcmk_")?;
    let value = value.trim();
    let wrong = match own {
        "host_check" if !matches!(value, "static-list" | "dynamic-list" | "status" | "none") => {
            "static-list, dynamic-list, status or none".to_owned()
        }
        "host_map" if !is_map(value) => "NODE:PORT;NODE:PORT".to_owned(),
        "host_argument" | "reboot_action" | "off_action" | "on_action" | "list_action" | "monitor_action"
        | "status_action"
            if !is_word(value) =>
        {
            "one word".to_owned()
        }
        "action_limit" if !value.parse::<i64>().is_ok_and(|n| n >= -1) => {
            "a number of actions, or -1 for no limit".to_owned()
        }
        "delay_base" | "delay_max" => return delay(value, own == "delay_base"),
        _ if own.ends_with("_timeout") && time(value).is_none_or(|ms| ms == 0) => {
            "a time above 0, such as 60s".to_owned()
        }
        _ if own.ends_with("_retries") && !value.parse::<u32>().is_ok_and(|n| (1..=MAX_TRIES).contains(&n)) => {
            format!("a number from 1 to {MAX_TRIES}")
        }
        _ => return None,
    };
    Some(wrong)
}

fn delay(value: &str, by_node: bool) -> Option<String> {
    let times: Vec<&str> = match by_node && value.contains([':', '=']) {
        true if !is_map(value) => return Some("a time, or NODE:TIME;NODE:TIME".to_owned()),
        true => entries(value).filter_map(|e| e.split_once([':', '='])).map(|(_, time)| time).collect(),
        false => vec![value],
    };
    let fits = |text: &&str| time(text).is_some_and(|ms| ms <= MAX_DELAY.0);
    (!times.iter().all(fits)).then(|| format!("a time of at most {}, such as 5s", MAX_DELAY.1))
}

fn time(text: &str) -> Option<u64> {
    let text = text.trim();
    text.starts_with(|c: char| c.is_ascii_digit() || c == 'P').then(|| parse_interval_ms(text)).flatten()
}

fn entries(value: &str) -> impl Iterator<Item = &str> {
    value.split([';', ' ', '\t', '\n']).filter(|e| !e.is_empty())
}

/// A backslash takes the next character as it is: what has one is not judged.
fn is_map(value: &str) -> bool {
    let pair =
        |entry: &str| entry.split_once([':', '=']).is_some_and(|(node, port)| !node.is_empty() && !port.is_empty());
    value.contains('\\') || entries(value).next().is_some() && entries(value).all(pair)
}

fn is_word(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_nothing_is_told_from_what_does() {
        let good = [
            ("pcmk_host_check", "static-list"),
            ("pcmk_host_map", "n1:1;n2:2,3"),
            ("pcmk_host_map", r"n1:a\;b"),
            ("pcmk_host_map", "n1=1 n2=2;"),
            ("pcmk_host_list", "n1,n2"),
            ("pcmk_delay_base", "5"),
            ("pcmk_delay_base", "0"),
            ("pcmk_delay_base", "n1:5s;n2:0"),
            ("pcmk_delay_max", "PT10S"),
            ("pcmk_action_limit", "-1"),
            ("pcmk_reboot_timeout", "120s"),
            ("pcmk_off_retries", "4"),
            ("pcmk_reboot_action", "off"),
            ("pcmk_host_argument", "none"),
            ("mode", "-5"),
        ];
        for (name, value) in good {
            assert_eq!(expected(name, value), None, "{name}={value}");
        }
        let wrong = [
            ("pcmk_host_check", "banana"),
            ("pcmk_host_map", "n1:1;;:::x"),
            ("pcmk_host_map", "n1"),
            ("pcmk_delay_base", "n1:-1s;n2:99999999999999999999h"),
            ("pcmk_delay_base", "2000000h"),
            ("pcmk_delay_max", "soon"),
            ("pcmk_delay_max", "601s"),
            ("pcmk_action_limit", "-7"),
            ("pcmk_reboot_timeout", "-5"),
            ("pcmk_monitor_timeout", "0"),
            ("pcmk_reboot_retries", "9999999999"),
            ("pcmk_reboot_action", "off; rm -rf /"),
            ("pcmk_host_argument", "port=x\naction=off"),
        ];
        for (name, value) in wrong {
            assert!(expected(name, value).is_some(), "{name}={value}");
        }
    }
}
