//! What this machine has: its environment, and the programs that a node's commands need.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, access};
use telson_core::config::Environment;
use telson_core::nodehost::{Camera, CameraTool, INHERITED, Machine};

use crate::state::{StateDir, home};

/// Where programs of the system are; nowhere else is looked, whatever the search path says (spec 08 S-29).
const SYSTEM_DIRS: [&str; 3] = ["/usr/bin", "/bin", "/usr/local/bin"];

/// At most so many cameras.
const MOST_CAMERAS: usize = 16;

/// What this machine has.
pub fn machine(env: &Environment, state: &StateDir) -> Machine {
    let own = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), env.get(name)?.to_owned())));
    let below = |name: &str| state.path().join(name).display().to_string();
    Machine {
        home: home(env).filter(|home| home.is_dir()).map(|home| home.display().to_string()),
        environment: own.collect(),
        notify: program("notify-send"),
        camera: camera(),
        policy: below("exec-approvals.json"),
        policy_socket: below("exec-approvals.sock"),
    }
}

/// The absolute path of a program of the system that nobody but its owner can change.
fn program(name: &str) -> Option<String> {
    SYSTEM_DIRS
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| is_sound(path))
        .map(|path| path.display().to_string())
}

fn is_sound(path: &Path) -> bool {
    let sound = fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o022 == 0);
    sound && access(path, Access::EXEC_OK).is_ok()
}

/// What takes pictures: a video device that may be opened, and a program for it.
fn camera() -> Option<Camera> {
    let devices = devices(Path::new("/dev"), Path::new("/sys/class/video4linux"));
    if devices.is_empty() {
        return None;
    }
    let tools = [("ffmpeg", CameraTool::Ffmpeg), ("fswebcam", CameraTool::Fswebcam)];
    let (program, tool) = tools.into_iter().find_map(|(name, tool)| Some((program(name)?, tool)))?;
    Some(Camera { program, tool, devices })
}

/// The video devices that may be opened, and what they call themselves.
fn devices(dev: &Path, class: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(class) else { return Vec::new() };
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("video")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let found = numbers.into_iter().filter_map(|number| {
        let file = dev.join(format!("video{number}"));
        access(&file, Access::READ_OK | Access::WRITE_OK).ok()?;
        let name = fs::read_to_string(class.join(format!("video{number}/name"))).unwrap_or_default();
        let name: String = name.trim().chars().take(100).collect();
        Some((file.display().to_string(), if name.is_empty() { format!("video{number}") } else { name }))
    });
    found.take(MOST_CAMERAS).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_devices_that_can_be_opened_are_cameras() {
        let temp = tempfile::tempdir().unwrap();
        let (dev, class) = (temp.path().join("dev"), temp.path().join("class"));
        fs::create_dir(&dev).unwrap();
        for (name, words) in
            [("video10", "Desk camera\n"), ("video2", ""), ("video3", "gone"), ("radio0", "no camera")]
        {
            fs::create_dir_all(class.join(name)).unwrap();
            fs::write(class.join(name).join("name"), words).unwrap();
        }
        fs::write(dev.join("video2"), "").unwrap();
        fs::write(dev.join("video10"), "").unwrap();
        let names: Vec<String> = devices(&dev, &class).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["video2", "Desk camera"]);
        assert!(devices(&dev, Path::new("/absent")).is_empty());
    }

    #[test]
    fn a_program_that_others_can_change_is_none() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("tool");
        fs::write(&path, "").unwrap();
        for (mode, sound) in [(0o755, true), (0o775, false), (0o757, false), (0o644, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_sound(&path), sound, "{mode:o}");
        }
    }
}
