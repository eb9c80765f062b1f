//! Whether a model's code can be what the config says, before anything is installed: the file is there, it is Python, and it has
//! the class. The code is parsed by the interpreter that will run it, and never run here.

use std::path::Path;

use api::truss_config::TrussConfig;
use serde::Deserialize;

use super::{Local, python::Interpreter};
use crate::BuildError;

/// Parses the file named by its first argument and looks for the class named by its second. Names that a module gets by import,
/// assignment or in a conditional count; after `from x import *` anything may be there.
const SCRIPT: &str = r#"
import ast, json, sys
path, wanted = sys.argv[1:]
def answer(**found):
    print(json.dumps(found))
    sys.exit()
try:
    with open(path, "rb") as file:
        tree = ast.parse(file.read(), path)
except SyntaxError as error:
    answer(kind="syntax", line=error.lineno or 1, message=error.msg)
except (ValueError, RecursionError, MemoryError) as error:
    answer(kind="syntax", line=1, message=str(error) or type(error).__name__)
names, classes, line = set(), [], {}
def visit(body):
    for node in body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name); classes.append(node.name)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            line[node.name] = node.lineno
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        for inner in ("body", "orelse", "finalbody"):
            if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                visit(getattr(node, inner, []))
        for handler in getattr(node, "handlers", []):
            visit(handler.body)
visit(tree.body)
if wanted in names or "*" in names:
    answer(kind="fine")
answer(kind="missing", classes=classes[:5], function=line.get(wanted))
"#;

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Answer {
    Fine,
    Syntax { line: u32, message: String },
    Missing { classes: Vec<String>, function: Option<u32> },
}

impl Local {
    /// Refuses an app whose model cannot be loaded, whatever is installed.
    pub(super) async fn check_model(
        &self,
        config: &TrussConfig,
        app: &Path,
        python: &Interpreter,
    ) -> Result<(), BuildError> {
        let file = format!("{}/{}", config.model_module_dir.trim_matches('/'), config.model_class_filename);
        let path = app.join(&file);
        if !path.is_file() {
            return Err(BuildError::Invalid {
                message: format!("{file} is not in the archive"),
                hint: Some(
                    "put the model's class there, or set model_module_dir and model_class_filename; check .truss_ignore".into(),
                ),
            });
        }
        let class = &config.model_class_name;
        let mut command = self.tool(&python.path, ["-I", "-S", "-c", SCRIPT]);
        command.arg(&path).arg(class).kill_on_drop(true);
        let output = command.output().await.map_err(BuildError::Machine)?;
        let answer = serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            super::uv::machine(format!("Python could not check {file}: {}", said.lines().last().unwrap_or("no answer")))
        })?;
        match answer {
            Answer::Fine => Ok(()),
            Answer::Syntax { line, message } => Err(BuildError::Invalid {
                message: format!("{file}:{line}: {message}"),
                hint: Some(format!("the file is no Python {}", python.version)),
            }),
            Answer::Missing { function: Some(line), .. } => Err(BuildError::Invalid {
                message: format!("{file}:{line}: `{class}` is a function, not a class"),
                hint: None,
            }),
            Answer::Missing { classes, .. } => Err(BuildError::Invalid {
                message: format!("{file} has no class `{class}`"),
                hint: Some(match classes.as_slice() {
                    [] => format!("define `class {class}` there, or set model_class_name"),
                    found => format!("it has `{}`; set model_class_name, or rename the class", found.join("`, `")),
                }),
            }),
        }
    }
}
