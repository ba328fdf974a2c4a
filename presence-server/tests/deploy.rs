//! What `deploy/` says to a server is what the server understands.

use std::{collections::BTreeMap, path::Path, process::Command};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `openssl rand -hex 32` prints.
const RANDOM: &str = "7d1c0e9ab45f23688e02d7b31fa64c95e8730bdc1649f2a5536e8b0f94a7d2c1";

/// The variables of the nodes of a file, with secrets in the places of those that users make.
fn variables(file: &str) -> BTreeMap<String, String> {
    let compose = read(file);
    let (_, node) = compose.split_once("x-node:").expect("the nodes");
    let (_, lines) = node.split_once("  environment:\n").expect("their environment");
    let lines = lines.lines().take_while(|line| line.starts_with("    "));
    let settings = lines.filter(|line| !line.trim_start().starts_with('#')).map(|line| {
        let (name, value) = line.trim().split_once(": ").unwrap_or_else(|| panic!("{line}"));
        let mut value = value.trim_matches('"').to_owned();
        while let Some((before, rest)) = value.split_once("${") {
            let (secret, after) = rest.split_once(":?}").expect("a secret that must be set");
            // Each another one.
            let (start, end) = RANDOM.split_at(secret.len());
            value = format!("{before}{end}{start}{after}");
        }
        (name.to_owned(), value)
    });
    settings.collect()
}

fn server(arguments: &[&str], variables: &BTreeMap<String, String>) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence-server"));
    let folder = tempfile::tempdir().expect("a folder");
    let output = command.env_clear().current_dir(folder.path()).envs(variables).args(arguments).output();
    let output = output.expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).expect("text"))
}

#[test]
fn the_nodes_of_the_compose_file_have_settings_that_the_server_knows() {
    let variables = variables("compose.yaml");
    assert_known(&variables);
    for name in ["BIND_ADDRESS", "DATABASE_URL", "DATABASE_MAX_CONNECTIONS", "JWT_SECRET", "ADMIN_API_KEY"] {
        assert!(variables.contains_key(name), "{name}");
    }
    let (is_right, effective) = server(&["check-config"], &variables);
    assert!(is_right, "{effective}");
}

fn assert_known(variables: &BTreeMap<String, String>) {
    let (_, help) = server(&["--help"], &BTreeMap::new());
    for name in variables.keys() {
        assert!(help.contains(&format!("[env: {name}")), "--help does not know {name}");
    }
}

#[test]
fn the_nodes_of_the_stream_have_settings_that_a_server_with_the_feature_knows() {
    let mut variables = variables("compose.stream.yaml");
    for name in ["KAFKA_ENABLED", "KAFKA_BROKERS", "KAFKA_CONSUMER_ENABLED"] {
        assert!(variables.contains_key(name), "{name}");
    }
    assert_known(&variables);
    variables.extend(self::variables("compose.yaml"));
    let (is_right, effective) = server(&["check-config"], &variables);
    assert_eq!(is_right, cfg!(feature = "kafka"), "{effective}");
}

#[test]
fn the_stream_has_the_topics_that_the_server_uses_and_no_other() {
    let stream = read("compose.stream.yaml");
    let made = stream.split_once("for topic in ").and_then(|(_, rest)| rest.split_once(';'));
    let made: Vec<_> = made.expect("a loop").0.split(' ').map(|name| format!("presence.{name}")).collect();
    let readme = include_str!("../../presence-kafka/README.md");
    let told = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    assert_eq!(made, told.map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn the_proxy_knows_each_node_and_shows_nobody_what_is_for_operators() {
    let (compose, nodes) = (read("compose.yaml"), read("nodes.compose.conf"));
    let services: Vec<_> =
        compose.lines().filter_map(|line| line.trim_end().strip_suffix(": *node")).collect();
    assert_eq!(services.len(), 3, "{services:?}");
    for service in services {
        assert!(nodes.contains(&format!("server {}:3000 ", service.trim())), "{service}");
    }
    let proxy = read("nginx.conf");
    assert!(proxy.contains("include nodes.conf;") && proxy.contains("proxy_pass http://presence;"));
    let hidden = proxy.lines().find_map(|line| line.trim().strip_prefix("location ~ ^/(")).expect("a rule");
    for path in ["metrics", "docs", "openapi\\.json"] {
        assert!(hidden.split(['|', ')']).any(|hidden| hidden == path), "{path}");
    }
}
