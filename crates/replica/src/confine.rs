//! What the model process may not do, whoever it runs as: it has no capabilities and can never get any, from no program.
#![allow(unsafe_code)] // system calls that no library of ours wraps, between fork and exec

use std::io;

use nix::{
    errno::Errno,
    sys::prctl::set_no_new_privs,
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};

/// The version of the kernel's structures below.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// Becomes `user`, where one is given, and gives up all privileges. Only makes system calls; for between fork and exec.
pub fn give_up_privileges(user: Option<u32>) -> io::Result<()> {
    for capability in 0..64_u64 {
        // SAFETY: takes numbers only. Refused to those who have none to lose, and for numbers that are no capability.
        let done = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if done != 0 {
            break;
        }
    }
    if let Some(user) = user {
        setgroups(&[])?;
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
    }
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let nothing = [0_u32; 6]; // effective, permitted and inheritable, in two halves; the ambient ones go along
    // SAFETY: both live until the call returns and have the layout of this version.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, nothing.as_ptr()) })?;
    set_no_new_privs()?;
    Ok(())
}
