//! What a node host is told once: where the gateway is, what to show there, and what this machine has.

use std::collections::BTreeMap;

use crate::auth::Secret;

use super::identity::Identity;
use super::tokens::DeviceToken;

/// Everything that a node host is told once.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Where the gateway may be found; tried in turn. At least one.
    pub gateways: Vec<Address>,
    /// What is shown to a gateway that has given no token.
    pub credential: Credential,
    /// The token of a setup code, shown once before anything else (spec 01 §5.8).
    pub setup: Option<Secret>,
    /// The key of this node.
    pub identity: Identity,
    /// The name that people see.
    pub name: String,
    /// The version of this program.
    pub version: String,
    /// The platform, such as `linux`.
    pub platform: String,
    /// The family that goes with it, such as `Linux`.
    pub family: String,
    /// What this machine has.
    pub machine: Machine,
}

/// Where a gateway is.
#[derive(Clone, Debug)]
pub struct Address {
    /// The URL to connect to.
    pub url: String,
    /// Scheme, host and port in their one spelling: what a token belongs to.
    pub origin: String,
    /// The token that this origin gave.
    pub token: Option<DeviceToken>,
}

/// The shared secret of a gateway.
#[derive(Clone, Debug)]
pub enum Credential {
    /// None.
    Nothing,
    /// The shared token.
    Token(Secret),
    /// The shared password.
    Password(Secret),
}

impl Credential {
    /// Whether there is none.
    pub const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// What of a machine its commands need.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The user's home directory, below which files may be listed; `None` when there is none.
    pub home: Option<String>,
    /// What children get of this process's environment, `PATH` among it (spec 08 S-99).
    pub environment: BTreeMap<String, String>,
    /// The absolute path of `notify-send`, where there is one.
    pub notify: Option<String>,
    /// What takes pictures, where there is something.
    pub camera: Option<Camera>,
    /// Where the standing policy is kept.
    pub policy: String,
    /// Where the policy's socket would be, as its file names it.
    pub policy_socket: String,
}

/// What takes pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Camera {
    /// The absolute path of the program.
    pub program: String,
    /// How it wants to be called.
    pub tool: CameraTool,
    /// The devices: their files and what they call themselves.
    pub devices: Vec<(String, String)>,
}

/// The programs that can take a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraTool {
    /// `ffmpeg`
    Ffmpeg,
    /// `fswebcam`
    Fswebcam,
}

/// The variables of this process that its children get, if they are set. Others stay here: they may carry keys
/// (spec 08 S-99).
pub const INHERITED: [&str; 18] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TZ",
    "TMPDIR",
    "TERM",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
];

/// What children find on their search path when this process has none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Machine {
    /// The search path of children.
    pub fn path(&self) -> &str {
        self.environment
            .get("PATH")
            .map(String::as_str)
            .filter(|path| !path.trim().is_empty())
            .unwrap_or(DEFAULT_PATH)
    }

    /// The commands that this machine can carry out.
    pub(super) fn commands(&self) -> Vec<&'static str> {
        let mut commands =
            vec!["system.run", "system.which", "system.execApprovals.get", "system.execApprovals.set"];
        if self.notify.is_some() {
            commands.push("system.notify");
        }
        if self.home.is_some() {
            commands.push("fs.listDir");
        }
        if self.camera.is_some() {
            commands.extend(["camera.list", "camera.snap"]);
        }
        commands
    }

    /// The groups that those commands belong to.
    pub(super) fn capabilities(&self) -> Vec<&'static str> {
        let mut capabilities = vec!["system"];
        if self.camera.is_some() {
            capabilities.push("camera");
        }
        capabilities
    }
}
