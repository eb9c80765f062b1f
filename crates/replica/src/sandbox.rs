//! The file system as the model-server contract describes it: a mount namespace in which `/app`, `/packages`, `/secrets`,
//! `/etc/b10_dynamic_config`, `/home/app`, `/workspace` and `/tmp` belong to this replica and everything else is the machine's.
//!
//! The root is a small read-only tmpfs. Every top-level entry of the machine is mounted into it with what is mounted below;
//! `/etc` and `/home` become folders of links and mounts, so that one entry can be added. `/app` is the deployment's folder
//! with a writable layer of the replica's own above it; where the file system offers no such layers, `/app` itself is writable
//! and what the archive put into it is read-only.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::statvfs::statvfs,
    unistd::{chdir, getgid, getuid, pivot_root},
};
use serde::{Deserialize, Serialize};

/// Top-level names that are not simply the machine's.
const OWN: [&str; 7] = ["app", "packages", "secrets", "tmp", "workspace", "home", "etc"];

/// Where nothing of the machine can be seen.
const HIDDEN: [&str; 6] = [
    "/app",
    "/packages",
    "/secrets",
    "/workspace",
    "/home/app",
    "/etc/b10_dynamic_config",
];

/// What the sandbox is made of.
#[derive(Serialize, Deserialize)]
pub struct Plan {
    /// The deployment's folder, to be `/app`.
    pub app: PathBuf,
    /// To be `/packages`.
    pub packages: Option<PathBuf>,
    /// The replica's folder. `root`, `home`, `tmp`, `workspace`, `dynamic_config` and `layer` in it belong to the sandbox.
    pub directory: PathBuf,
    /// Paths outside `/app` that must stay visible, whatever lies over their parents.
    pub needed: Vec<PathBuf>,
    /// Contents of the files in `/secrets`.
    pub secrets: BTreeMap<String, String>,
}

/// Puts this process, and those it will start, into the sandbox. It must have one thread. On an error it may be in a namespace
/// of its own already, which still looks like the machine.
pub fn enter(plan: &Plan) -> io::Result<()> {
    if let Some(hidden) = plan
        .needed
        .iter()
        .find(|path| HIDDEN.iter().any(|own| path.starts_with(own)))
    {
        return Err(io::Error::other(format!("{} would be hidden", hidden.display())));
    }
    new_namespace()?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    let root = plan.directory.join("root");
    fs::create_dir_all(&root)?;
    let options = "size=16m,mode=0755";
    mount(
        Some("tmpfs"),
        &root,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(options),
    )?;
    fill_root(plan, &root)?;
    lock(&root)?;
    chdir(&root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/app")?;
    Ok(())
}

/// A mount namespace: plainly where we may, else inside a user namespace in which we stay who we are.
fn new_namespace() -> io::Result<()> {
    if unshare(CloneFlags::CLONE_NEWNS).is_ok() {
        return Ok(());
    }
    let (user, group) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

fn fill_root(plan: &Plan, root: &Path) -> io::Result<()> {
    for entry in fs::read_dir("/")? {
        let name = entry?.file_name();
        let is_ours = OWN.iter().any(|own| name == *own);
        if !is_ours {
            graft(&Path::new("/").join(&name), &root.join(&name))?;
        }
    }
    fill_etc(plan, root)?;
    fs::create_dir(root.join("home"))?;
    for entry in fs::read_dir("/home").into_iter().flatten() {
        let name = entry?.file_name();
        if name != "app" {
            graft(&Path::new("/home").join(&name), &root.join("home").join(&name))?;
        }
    }
    for (inside, outside) in [("home/app", "home"), ("tmp", "tmp"), ("workspace", "workspace")] {
        let outside = plan.directory.join(outside);
        fs::create_dir_all(&outside)?;
        graft(&outside, &root.join(inside))?;
    }
    keep_visible(plan, root)?;
    fill_app(plan, &root.join("app"))?;
    if let Some(packages) = &plan.packages {
        graft(packages, &root.join("packages"))?;
        lock(&root.join("packages"))?;
    }
    fill_secrets(plan, &root.join("secrets"))
}

/// Shows `from` at `to`: folders and files by a mount, links as links. What cannot be shown is left out.
fn graft(from: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if kind.is_dir() {
        fs::create_dir_all(to)?;
    } else {
        fs::File::create(to)?;
    }
    mount(
        Some(from),
        to,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )?;
    Ok(())
}

/// `/etc` as links into the machine's own, so that its files may still be replaced, and the replica's settings beside them.
fn fill_etc(plan: &Plan, root: &Path) -> io::Result<()> {
    const MACHINE: &str = "/.machine-etc";
    graft(Path::new("/etc"), &root.join(&MACHINE[1..]))?;
    let etc = root.join("etc");
    fs::create_dir(&etc)?;
    for entry in fs::read_dir("/etc")? {
        let name = entry?.file_name();
        if name != "b10_dynamic_config" {
            symlink(Path::new(MACHINE).join(&name), etc.join(&name))?;
        }
    }
    graft(&plan.directory.join("dynamic_config"), &etc.join("b10_dynamic_config"))
}

/// Shows the top folders below `/tmp` that hold something needed. Elsewhere nothing is hidden.
fn keep_visible(plan: &Plan, root: &Path) -> io::Result<()> {
    for needed in &plan.needed {
        let Ok(below) = needed.strip_prefix("/tmp") else {
            continue;
        };
        let Some(top) = below.components().next() else { continue };
        let target = root.join("tmp").join(top);
        let is_shown = fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some());
        if !is_shown {
            graft(&Path::new("/tmp").join(top), &target)?;
        }
    }
    Ok(())
}

/// The deployment's folder under a layer of our own, or else a folder of our own that shows its entries.
fn fill_app(plan: &Plan, target: &Path) -> io::Result<()> {
    let layer = plan.directory.join("layer");
    let (upper, work) = (layer.join("upper"), layer.join("work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    fs::create_dir(target)?;
    let is_plain = |path: &Path| !path.to_string_lossy().contains([',', ':', '\\']);
    if is_plain(&plan.app) && is_plain(&layer) {
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            plan.app.display(),
            upper.display(),
            work.display()
        );
        if mount(
            Some("overlay"),
            target,
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .is_ok()
        {
            return Ok(());
        }
    }
    mount(Some(&upper), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    for entry in fs::read_dir(&plan.app)? {
        let name = entry?.file_name();
        graft(&plan.app.join(&name), &target.join(&name))?;
        lock(&target.join(&name))?;
    }
    Ok(())
}

/// Secrets as files in memory, for their owner only.
fn fill_secrets(plan: &Plan, target: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(target)?;
    for (name, value) in &plan.secrets {
        // The name is a key of the config: one that is no file name is still given to the model as a secret.
        if Path::new(name).file_name().is_some_and(|file| file == name.as_str()) {
            let mut file = fs::File::options()
                .create_new(true)
                .write(true)
                .mode(0o400)
                .open(target.join(name))?;
            io::Write::write_all(&mut file, value.as_bytes())?;
        }
    }
    Ok(())
}

/// Makes one mount read-only, keeping the restrictions it already has: a user namespace may not lift those.
fn lock(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.file_type().is_symlink() {
        return Ok(());
    }
    let kept = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
    let present = MsFlags::from_bits_truncate(statvfs(path)?.flags().bits() as _) & kept;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | present;
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>)?;
    Ok(())
}
