//! The replica's place among the programs of a core.
#![allow(unsafe_code)] // a system call that no library of ours wraps

use nix::errno::Errno;

/// Lets whoever runs on this core finish its turn when something arrives for the replica: a gateway that shares the core goes on
/// handing over requests, which then share one read. Changes nothing where a core is free. What the replica starts has the
/// ordinary manners.
pub fn let_others_finish() -> nix::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    let policy = libc::SCHED_BATCH | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameters outlive the call, which writes nothing.
    Errno::result(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) }).map(drop)
}
