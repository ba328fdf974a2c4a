//! What `deploy/` says to a server is what the server understands.

use std::{collections::BTreeMap, path::Path, process::Command};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `openssl rand -hex 32` prints.
const RANDOM: &str = "7d1c0e9ab45f23688e02d7b31fa64c95e8730bdc1649f2a5536e8b0f94a7d2c1";

/// The variables of the nodes, with secrets in the places of those that users make.
fn variables() -> BTreeMap<String, String> {
    let compose = read("compose.yaml");
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
    let variables = variables();
    let (_, help) = server(&["--help"], &BTreeMap::new());
    for name in variables.keys() {
        assert!(help.contains(&format!("[env: {name}")), "--help does not know {name}");
    }
    for name in ["BIND_ADDRESS", "DATABASE_URL", "DATABASE_MAX_CONNECTIONS", "JWT_SECRET", "ADMIN_API_KEY"] {
        assert!(variables.contains_key(name), "{name}");
    }
    let (is_right, effective) = server(&["check-config"], &variables);
    assert!(is_right, "{effective}");
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
