//! The same program as `greenroom-replica`, under a name of its own for this crate's tests.

fn main() -> std::process::ExitCode {
    replica::main()
}
