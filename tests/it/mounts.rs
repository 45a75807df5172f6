//! File systems for tests: mounted where that is allowed, unmounted when the test ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A file system that is unmounted when the test ends.
pub struct Mount {
    at: PathBuf,
    loop_device: Option<String>,
    /// The FUSE server, where there is one.
    server: Option<Child>,
}

pub fn run(command: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(command).args(arguments).output().map_err(|error| format!("{command}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

impl Mount {
    /// A tmpfs; `None`, said aloud, where that is not allowed.
    pub fn tmpfs(at: &Path, options: &str) -> Option<Mount> {
        fs::create_dir_all(at).unwrap();
        match run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at.to_str().unwrap()]) {
            Ok(_) => Some(Mount { at: at.to_owned(), loop_device: None, server: None }),
            Err(why) => {
                eprintln!("SKIPPED: needs root and mount: {why}");
                None
            }
        }
    }

    /// An ext4 whose blocks lie in a sparse file: when the file system below is full, writes succeed and their fsync fails.
    pub fn ext4_on(image: &Path, at: &Path) -> Option<Mount> {
        fs::File::create(image).unwrap().set_len(32 << 20).unwrap();
        let image = image.to_str().unwrap();
        let made = run("mkfs.ext4", &["-q", "-O", "^has_journal", "-E", "lazy_itable_init=0", image])
            .and_then(|_| run("losetup", &["-f", "--show", image]))
            .and_then(|device| run("mount", &["-o", "errors=continue", &device, at.to_str().unwrap()]).map(|_| device));
        match made {
            Ok(device) => Some(Mount { at: at.to_owned(), loop_device: Some(device), server: None }),
            Err(why) => {
                eprintln!("SKIPPED: needs root, loop devices and the Debian package e2fsprogs: {why}");
                None
            }
        }
    }

    /// A FUSE mount of `behind`, where changes do not pass by the mount's kernel; it remembers nothing.
    pub fn bindfs(behind: &Path, at: &Path) -> Option<Mount> {
        fs::create_dir_all(behind).unwrap();
        fs::create_dir_all(at).unwrap();
        let mut command = Command::new("bindfs");
        command.args(["-f", "-o", "attr_timeout=60,entry_timeout=60"]).arg(behind).arg(at);
        let Ok(mut server) = command.stderr(Stdio::null()).spawn() else {
            eprintln!("SKIPPED: needs the Debian packages bindfs and fuse3");
            return None;
        };
        while !is_mounted(at) {
            if server.try_wait().unwrap().is_some() {
                eprintln!("SKIPPED: bindfs needs /dev/fuse and the right to mount");
                return None;
            }
            std::thread::sleep(Duration::from_millis(10)); // between two looks, not for luck
        }
        Some(Mount { at: at.to_owned(), loop_device: None, server: Some(server) })
    }

    /// Shows `behind` at another place too.
    pub fn bind(behind: &Path, at: &Path) -> Option<Mount> {
        match run("mount", &["--bind", behind.to_str().unwrap(), at.to_str().unwrap()]) {
            Ok(_) => Some(Mount { at: at.to_owned(), loop_device: None, server: None }),
            Err(why) => {
                eprintln!("SKIPPED: needs root and mount: {why}");
                None
            }
        }
    }

    /// Makes the FUSE server hang, or go on.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let server = self.server.as_ref().expect("a FUSE mount");
        rustix::process::kill_process(rustix::process::Pid::from_child(server), signal).unwrap();
    }

    pub fn move_to(&mut self, at: &Path) {
        run("mount", &["--move", self.at.to_str().unwrap(), at.to_str().unwrap()]).unwrap();
        self.at = at.to_owned();
    }

    pub fn remount(&self, options: &str) {
        run("mount", &["-o", &format!("remount,{options}"), self.at.to_str().unwrap()]).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.signal(rustix::process::Signal::CONT); // or the unmount hangs as well
        }
        // Lazily: a test that failed may have left a process there.
        let _ = run("umount", &["-l", self.at.to_str().unwrap()]);
        if let Some(device) = &self.loop_device {
            let _ = run("losetup", &["-d", device]);
        }
        if let Some(server) = &mut self.server {
            let _ = server.wait(); // it ends with its mount
        }
    }
}

fn is_mounted(at: &Path) -> bool {
    let at = at.to_str().unwrap();
    fs::read_to_string("/proc/self/mounts").unwrap().lines().any(|line| line.split(' ').nth(1) == Some(at))
}
