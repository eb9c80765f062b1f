//! The replica's executable. It is built beside `greenroom`, which looks for it there.

fn main() -> std::process::ExitCode {
    replica::main()
}
