//! What authors of a `config.yaml` rely on: what is read, what is refused and in which words, what a model is shown.

use api::truss_config::{Error, TransportKind, TrussConfig, from_value, is_reserved_variable, parse_yaml};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

#[track_caller]
fn read(yaml: &str) -> TrussConfig {
    parse_yaml(yaml).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refused(yaml: &str, expected: &str) {
    match parse_yaml(yaml) {
        Ok(config) => panic!("was read: {config:?}"),
        Err(error) => assert_eq!(error.to_string(), expected),
    }
}

#[track_caller]
fn problem(yaml: &str, expected: &str) {
    let problems: Vec<String> = read(yaml).validate().iter().map(ToString::to_string).collect();
    assert_eq!(problems, [expected]);
}

#[test]
fn an_empty_file_is_a_config_with_every_default() {
    assert_eq!(read(""), TrussConfig::default());
    assert_eq!(read("# nothing here\n"), TrussConfig::default());
    assert!(TrussConfig::default().validate().is_empty());
    assert!(TrussConfig::default().warnings().is_empty());
}

#[test]
fn a_usual_config_is_read() {
    let config = read(concat!(
        "model_name: iris\n",
        "python_version: py311\n",
        "requirements:\n  - scikit-learn==1.5.2\n",
        "resources:\n  cpu: 500m\n  memory: 512Mi\n  accelerator: L4:2\n",
        "secrets:\n  hf_access_token: null\n",
        "environment_variables:\n  VERBOSE: true\n  THREADS: 4\n  NAME: iris\n",
        "runtime:\n  predict_concurrency: 8\n",
    ));
    assert_eq!(config.model_name.as_deref(), Some("iris"));
    assert_eq!(config.python_version.minor, 11);
    assert_eq!(config.resources.cpu.millicpu(), 500);
    assert_eq!(config.resources.memory.bytes(), 512 << 20);
    assert_eq!(config.resources.accelerator.as_ref().map(|a| (a.name.as_str(), a.count)), Some(("L4", 2)));
    assert_eq!(config.secrets.keys().collect::<Vec<_>>(), ["hf_access_token"]);
    assert_eq!(config.runtime.predict_concurrency, 8);
    let variables: Vec<_> = config.allowed_environment_variables().collect();
    assert_eq!(variables, [("NAME", "iris"), ("THREADS", "4"), ("VERBOSE", "true")]);
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_by_path() {
    refused("resources:\n  cpu: [1]\n", "resources.cpu: expected a string such as \"500m\" or \"4\", found a list");
    refused(
        "resources:\n  memory: 2GB\n",
        "resources.memory: expected a string such as \"512Mi\" or \"2Gi\", found \"2GB\"",
    );
    refused(
        "resources:\n  accelerator: 'L4:none'\n",
        "resources.accelerator: expected a string such as \"L4\" or \"H100:8\", found \"L4:none\"",
    );
    refused("resources: small\n", "resources: expected an object, found \"small\"");
    refused("requirements: numpy\n", "requirements: expected a list, found \"numpy\"");
    refused("requirements:\n  - numpy\n  - {a: b}\n", "requirements[1]: expected a string, found an object");
    refused("python_version: 3.11\n", "python_version: expected a string such as \"py311\", found the number 3.11");
    refused("live_reload: maybe\n", "live_reload: expected true or false, found \"maybe\"");
    refused(
        "runtime:\n  predict_concurrency: -1\n",
        "runtime.predict_concurrency: expected a whole number that is not negative, found the number -1",
    );
    refused(
        "runtime:\n  transport:\n    kind: carrier\n",
        "runtime.transport.kind: expected one of `http`, `websocket`, `grpc`, found \"carrier\"",
    );
    refused(
        "docker_server:\n  predict_endpoint: /p\n  readiness_endpoint: /\n  liveness_endpoint: /\n",
        "docker_server.server_port: is missing",
    );
    refused("external_data:\n  - url: https://example.com/x\n", "external_data[0].local_data_path: is missing");
    refused("- a list\n", "expected an object, found a list");
}

#[test]
fn what_may_be_confidential_is_not_repeated() {
    refused("secrets: hunter2\n", "secrets: expected an object, found a string");
}

#[test]
fn a_number_with_more_than_one_spelling_is_not_guessed() {
    let expected = "environment_variables.VERSION: expected a string in quotes, found the number 1.1";
    refused("environment_variables:\n  VERSION: 1.10\n", expected);
}

#[track_caller]
fn not_yaml(yaml: &str, expected: &str) {
    let error = parse_yaml(yaml).expect_err("a config with a mistake");
    assert!(matches!(error, Error::Syntax(_)), "{error}");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn broken_yaml_says_where() {
    not_yaml("model_name: [unclosed\nother: 1\n", "line");
    not_yaml("model_name: one\nmodel_name: two\n", "line 2");
    not_yaml("resources:\n\tcpu: 1\n", "line 2");
}

#[test]
fn aliases_and_merge_keys_are_understood() {
    let config = read("small: &small {cpu: 500m}\nresources:\n  <<: *small\n  memory: 1Gi\n");
    assert_eq!((config.resources.cpu.millicpu(), config.resources.memory.bytes()), (500, 1 << 30));
}

#[test]
fn a_small_file_cannot_unfold_into_a_large_one() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert!(matches!(parse_yaml(&bomb), Err(Error::Syntax(_))));
    assert!(matches!(parse_yaml(&format!("x: {}", "[".repeat(100_000))), Err(Error::Syntax(_))));
}

#[test]
fn a_key_without_a_value_means_its_default() {
    assert_eq!(
        read("requirements:\nsecrets:\nenvironment_variables:\nresources:\nruntime:\nbuild:\n"),
        TrussConfig::default()
    );
}

#[test]
fn rules_between_fields_are_told_all_at_once() {
    let config = read("requirements: [a]\nrequirements_file: requirements.txt\nruntime:\n  predict_concurrency: 0\n");
    let paths: Vec<_> = config.validate().into_iter().map(|problem| problem.path).collect();
    assert_eq!(paths, ["requirements", "runtime.predict_concurrency"]);
}

#[test]
fn what_could_never_run_is_a_problem() {
    let server = |more: &str| {
        format!(
            "docker_server:\n  start_command: serve\n  predict_endpoint: /p\n  readiness_endpoint: /r\n  liveness_endpoint: /l\n{more}"
        )
    };
    problem(
        &server("  server_port: 8080\n"),
        "docker_server.server_port: 8080 is taken by the platform, choose another port",
    );
    problem(
        &server("  server_port: 9000\n  run_as_user_id: 0\n"),
        "docker_server.run_as_user_id: 0 and 60000 are taken, choose another user",
    );
    problem("runtime:\n  transport: {kind: grpc}\n", "runtime.transport.kind: grpc needs a `docker_server`");
    problem(
        "runtime:\n  health_checks: {restart_threshold_seconds: 5}\n",
        "runtime.health_checks.restart_threshold_seconds: expected 10 to 3000 seconds",
    );
    problem("model_class_name: my model\n", "model_class_name: expected the name of a Python class");
    problem("secrets:\n  ../escape: null\n", "secrets.../escape: expected a name of letters, digits, `-`, `_` and `.`");
}

#[test]
fn no_path_leaves_the_models_folder() {
    for path in ["/etc", "../up", "a/../../b", "", "a\\..\\b"] {
        let config = from_value(json!({"data_dir": path, "model_module_dir": path, "bundled_packages_dir": path, "requirements_file": path})).unwrap();
        assert_eq!(config.validate().len(), 4, "{path:?}");
    }
    problem(
        "external_data:\n  - {url: 'https://example.com/x', local_data_path: ../x}\n",
        "external_data[0].local_data_path: expected a path inside the data folder, relative and without `..`",
    );
}

#[test]
fn a_mistyped_key_is_kept_and_warned_about() {
    let config = read("requirments: [numpy]\n");
    let warnings: Vec<_> = config.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["requirments: unknown key, kept and given no meaning; did you mean `requirements`?"]);
    assert_eq!(config.expanded()["requirments"], json!(["numpy"]));
}

#[test]
fn variables_of_the_platform_are_dropped_with_a_warning() {
    let config = read("environment_variables: {PORT: 1, K_X: 2, CUDA_VISIBLE_DEVICES: 0, MINE: 3}\n");
    assert_eq!(config.allowed_environment_variables().collect::<Vec<_>>(), [("MINE", "3")]);
    assert_eq!(config.warnings().len(), 3);
    for name in ["PORT", "PATH", "REDIS_SERVICE_HOST", "X_SERVICE_PORT", "KUBERNETES_PORT", "K_REVISION"] {
        assert!(is_reserved_variable(name), "{name}");
    }
    for name in ["PYTHONPATH", "MY_PORT", "HF_HOME", "KEY"] {
        assert!(!is_reserved_variable(name), "{name}");
    }
}

#[test]
fn both_ways_to_ask_for_a_websocket_agree() {
    for yaml in ["runtime: {is_websocket_endpoint: true}", "runtime: {transport: {kind: websocket}}"] {
        let config = read(yaml);
        assert_eq!(config.runtime.transport.kind, TransportKind::Websocket);
        assert_eq!(config.expanded()["runtime"]["is_websocket_endpoint"], json!(true));
    }
}

/// As the reference client expands a config that says only `{model_name: tiny, python_version: py311, resources: {memory: 1Gi}}`.
fn reference_expansion() -> Value {
    serde_json::from_str(include_str!("expanded_config.json")).expect("the fixture is JSON")
}

#[test]
fn the_expanded_config_is_the_reference_clients() {
    let config = read("model_name: tiny\npython_version: py311\nresources: {memory: 1Gi}\n");
    assert_eq!(config.expanded(), reference_expansion());
    assert_eq!(from_value(reference_expansion()).unwrap(), config);
}

/// Whether everything that `given` says is said by `expanded` too.
fn preserves(given: &Value, expanded: &Value) -> bool {
    match (given, expanded) {
        (Value::Object(given), Value::Object(expanded)) => {
            given.iter().all(|(key, value)| expanded.get(key).is_some_and(|found| preserves(value, found)))
        }
        (given, expanded) => given == expanded,
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z \\n\"]{0,8}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,6}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn any_config()(
        name in prop::option::of("[a-z]{1,8}"),
        minor in 9_u8..15,
        requirements in prop::collection::vec("[a-z]{1,8}(==[0-9])?", 0..3),
        variables in prop::collection::btree_map("[A-Z]{1,6}", "[ -~]{0,8}", 0..3),
        secrets in prop::collection::btree_map("[a-z]{1,6}", Just(Value::Null), 0..3),
        cpu in prop_oneof![Just("500m"), Just("2"), Just("0.5")],
        memory in prop_oneof![Just("1Gi"), Just("1.5Gi"), Just("1000000")],
        metadata in prop::collection::btree_map("[a-z]{1,6}", any_json(), 0..3),
        unknown in prop::collection::btree_map("x_[a-z]{1,6}", any_json(), 0..3),
        unknown_runtime in prop::collection::btree_map("x_[a-z]{1,6}", any_json(), 0..3),
        concurrency in 1_u32..100,
    ) -> Value {
        let mut runtime: Map<String, Value> = unknown_runtime.into_iter().collect();
        runtime.insert("predict_concurrency".into(), concurrency.into());
        let mut config = json!({
            "model_name": name, "python_version": format!("py3{minor}"), "requirements": requirements,
            "environment_variables": variables, "secrets": secrets, "resources": {"cpu": cpu, "memory": memory},
            "model_metadata": metadata, "runtime": runtime,
        });
        config.as_object_mut().expect("it is an object").extend(unknown);
        config
    }
}

proptest! {
    #[test]
    fn whatever_a_user_wrote_is_in_the_expanded_config(given in any_config()) {
        let expanded = from_value(given.clone()).unwrap().expanded();
        prop_assert!(preserves(&given, &expanded), "{given} is not in {expanded}");
    }

    #[test]
    fn an_expanded_config_reads_back_as_the_same(given in any_config()) {
        let config = from_value(given).unwrap();
        prop_assert_eq!(from_value(config.expanded()).unwrap(), config.clone());
        prop_assert_eq!(parse_yaml(&config.expanded().to_string()).unwrap(), config);
    }

    #[test]
    fn nothing_that_strangers_send_panics(document in any_json(), text in "\\PC{0,60}") {
        let _ = from_value(document).map(|config| (config.validate(), config.warnings()));
        let _ = parse_yaml(&text);
    }
}
