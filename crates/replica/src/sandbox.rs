//! The file system as the model-server contract describes it: a root of its own in which `/app`, `/packages`, `/secrets`,
//! `/etc/b10_dynamic_config`, `/home/app`, `/workspace`, `/dev/shm` and `/tmp` belong to this replica, and everything else is
//! the machine's, read-only and without what is hidden from models.
//!
//! The root is a small read-only tmpfs. Every top-level entry of the machine is mounted into it with what is mounted below;
//! `/etc` and `/home` become folders of links and mounts, so that one entry can be added. `/app` is the deployment's folder
//! with a writable layer of the replica's own above it; where the file system offers no such layers, `/app` itself is writable
//! and what the archive put into it is read-only. What is hidden, [`crate::veil`] covers. Without capabilities, which
//! [`crate::confine`] takes away, none of this can be undone from inside.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, symlink},
    },
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::{chdir, pivot_root},
};
use serde::{Deserialize, Serialize};

use crate::{
    mounts::{cover, graft, lock, lock_all},
    namespace::Namespace,
    veil,
};

/// Top-level names that are not simply the machine's.
const OWN: [&str; 9] = ["app", "packages", "secrets", "tmp", "workspace", "home", "etc", "proc", "dev"];

/// Where nothing of the machine can be seen.
const TAKEN: [&str; 6] = ["/app", "/packages", "/secrets", "/workspace", "/home/app", "/etc/b10_dynamic_config"];

/// Where the machine's own `/etc` is.
pub const MACHINE_ETC: &str = "/.machine-etc";

/// Where secrets are files.
const SECRETS: &str = "/secrets";

/// Parts of `/proc` that are the machine's settings.
const SETTINGS: [&str; 4] = ["sys", "sysrq-trigger", "irq", "bus"];

/// What the sandbox is made of.
#[derive(Serialize, Deserialize)]
pub struct Plan {
    /// The deployment's folder, to be `/app`.
    pub app: PathBuf,
    /// To be `/packages`.
    pub packages: Option<PathBuf>,
    /// The replica's folder. `root`, `home`, `tmp`, `workspace`, `dynamic_config` and `layer` in it belong to the sandbox.
    pub directory: PathBuf,
    /// Folders and files that look empty.
    pub hidden: Vec<PathBuf>,
    /// Paths outside `/app` that must stay visible, whatever lies over their parents.
    pub needed: Vec<PathBuf>,
    /// Who the model runs as, where we may choose.
    pub user: Option<u32>,
    /// Contents of the files in `/secrets`; none where they will be given later.
    pub secrets: Option<BTreeMap<String, String>>,
}

/// Makes the sandbox the root of this process and those it will start. It must have entered `namespace`, and be alone in it.
pub fn enter(plan: &Plan, namespace: Namespace) -> io::Result<SecretFiles> {
    if let Some(taken) = plan.needed.iter().find(|path| TAKEN.iter().any(|own| path.starts_with(own))) {
        return Err(io::Error::other(format!("{} would be hidden", taken.display())));
    }
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let root = plan.directory.join("root");
    fs::create_dir_all(&root)?;
    cover(&root, "size=16m,mode=0755")?;
    // Else the machine's own folders would show it once more.
    mount(None::<&str>, &root, None::<&str>, MsFlags::MS_UNBINDABLE, None::<&str>)?;
    fill_root(plan, namespace, &root)?;
    lock(&root)?;
    // What is unbindable may not become the root.
    mount(None::<&str>, &root, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>)?;
    chdir(&root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/app")?;
    let files = SecretFiles::open(plan.user)?;
    if let Some(secrets) = &plan.secrets {
        files.show(secrets)?;
    }
    Ok(files)
}

/// The files in `/secrets`, in memory. The model sees them through a mount that is read-only; who holds this writes to them through
/// one that nobody else can reach.
pub struct SecretFiles {
    /// Holds `shown`, which is what the model sees, and `new`, for what is not whole yet.
    folder: fs::File,
    user: Option<u32>,
}

impl SecretFiles {
    /// From inside the sandbox.
    fn open(user: Option<u32>) -> io::Result<Self> {
        let folder = fs::File::open(SECRETS)?;
        let this = Self { folder, user };
        for name in ["shown", "new"] {
            fs::DirBuilder::new().mode(0o700).create(this.path(name))?;
        }
        let shown = Path::new(SECRETS).join("shown");
        mount(Some(&shown), SECRETS, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        lock(Path::new(SECRETS))?;
        Ok(this)
    }

    /// Makes these the files, for their owner only, in place of those there were. Each is the old one or the new one at any moment.
    pub fn show(&self, secrets: &BTreeMap<String, String>) -> io::Result<()> {
        let (shown, new) = (self.path("shown"), self.path("new"));
        // The name is a key of the config: one that is no file name is still given to the model as a secret.
        let is_file = |name: &str| Path::new(name).file_name().is_some_and(|file| file == name);
        for (name, value) in secrets.iter().filter(|(name, _)| is_file(name)) {
            let path = new.join(name);
            let _ = fs::remove_file(&path); // what an attempt has left that failed
            let mut file = fs::File::options().create_new(true).write(true).mode(0o600).open(&path)?;
            io::Write::write_all(&mut file, value.as_bytes())?;
            give(self.user, &path)?;
            fs::rename(&path, shown.join(name))?;
        }
        for entry in fs::read_dir(&shown)? {
            let name = entry?.file_name();
            if !name.to_str().is_some_and(|name| secrets.contains_key(name)) {
                fs::remove_file(shown.join(&name))?;
            }
        }
        give(self.user, &shown)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd())).join(name)
    }
}

fn fill_root(plan: &Plan, namespace: Namespace, root: &Path) -> io::Result<()> {
    for entry in fs::read_dir("/")? {
        let name = entry?.file_name();
        let is_ours = OWN.iter().any(|own| name == *own);
        if !is_ours {
            let target = root.join(&name);
            graft(&Path::new("/").join(&name), &target)?;
            lock_all(&target)?;
        }
    }
    fill_etc(plan, root)?;
    fill_home(root)?;
    fill_dev(root)?;
    fill_proc(namespace, &root.join("proc"))?;
    for (inside, outside) in [("home/app", "home"), ("tmp", "tmp"), ("workspace", "workspace")] {
        let outside = plan.directory.join(outside);
        fs::create_dir_all(&outside)?;
        give(plan.user, &outside)?;
        graft(&outside, &root.join(inside))?;
    }
    veil::draw(plan, root)?;
    fill_app(plan, namespace, &root.join("app"))?;
    if let Some(packages) = &plan.packages {
        graft(packages, &root.join("packages"))?;
        lock(&root.join("packages"))?;
    }
    let secrets = root.join("secrets");
    fs::create_dir(&secrets)?;
    cover(&secrets, "size=16m,mode=0700")
}

/// Makes something the property of the model's user, where that is not ours.
fn give(user: Option<u32>, path: &Path) -> io::Result<()> {
    user.map_or(Ok(()), |user| chown(path, Some(user), Some(user)))
}

/// `/etc` as links into the machine's own, so that its files may still be replaced, and the replica's settings beside them.
/// The model's user has a name.
fn fill_etc(plan: &Plan, root: &Path) -> io::Result<()> {
    graft(Path::new("/etc"), &root.join(&MACHINE_ETC[1..]))?;
    lock_all(&root.join(&MACHINE_ETC[1..]))?;
    let etc = root.join("etc");
    fs::create_dir(&etc)?;
    let line = |name: &str| {
        let user = plan.user?;
        match name {
            "passwd" => Some(format!("app:x:{user}:{user}::/home/app:/bin/sh\n")),
            "group" => Some(format!("app:x:{user}:\n")),
            _ => None,
        }
    };
    for entry in fs::read_dir("/etc")? {
        let name = entry?.file_name();
        if let Some(line) = name.to_str().and_then(line) {
            let text = fs::read_to_string(Path::new("/etc").join(&name))?;
            fs::write(etc.join(&name), text + &line)?;
        } else if name != "b10_dynamic_config" {
            symlink(Path::new(MACHINE_ETC).join(&name), etc.join(&name))?;
        }
    }
    let settings = etc.join("b10_dynamic_config");
    graft(&plan.directory.join("dynamic_config"), &settings)?;
    lock(&settings)
}

fn fill_home(root: &Path) -> io::Result<()> {
    fs::create_dir(root.join("home"))?;
    for entry in fs::read_dir("/home").into_iter().flatten() {
        let name = entry?.file_name();
        if name != "app" {
            let target = root.join("home").join(&name);
            graft(&Path::new("/home").join(&name), &target)?;
            lock_all(&target)?;
        }
    }
    Ok(())
}

/// The machine's devices; what models share in memory they share with themselves.
fn fill_dev(root: &Path) -> io::Result<()> {
    let dev = root.join("dev");
    graft(Path::new("/dev"), &dev)?;
    let shared = dev.join("shm");
    if shared.is_dir() {
        cover(&shared, "mode=1777")?;
    }
    Ok(())
}

/// The processes that can be seen.
fn fill_proc(namespace: Namespace, target: &Path) -> io::Result<()> {
    if !namespace.has_own_processes {
        return graft(Path::new("/proc"), target);
    }
    fs::create_dir(target)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), target, Some("proc"), flags, None::<&str>)?;
    for name in SETTINGS {
        let path = target.join(name);
        if path.exists() {
            graft(&path, &path)?;
            lock(&path)?;
        }
    }
    Ok(())
}

/// The deployment's folder under a layer of our own, or else a folder of our own that shows its entries.
fn fill_app(plan: &Plan, namespace: Namespace, target: &Path) -> io::Result<()> {
    let layer = plan.directory.join("layer");
    let (upper, work) = (layer.join("upper"), layer.join("work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o755))?;
    give(plan.user, &upper)?;
    fs::create_dir(target)?;
    let is_plain = |path: &Path| !path.to_string_lossy().contains([',', ':', '\\']);
    if is_plain(&plan.app) && is_plain(&layer) {
        let own_attributes = if namespace.is_users { ",userxattr" } else { "" };
        let options = format!(
            "lowerdir={},upperdir={},workdir={}{own_attributes}",
            plan.app.display(),
            upper.display(),
            work.display()
        );
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        if mount(Some("overlay"), target, Some("overlay"), flags, Some(options.as_str())).is_ok() {
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
