//! `camera.list` and `camera.snap`: one picture of a video device, taken by `ffmpeg` or `fswebcam`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::limits::{self, length};

use super::desk::{Act, Desk, Fault, Outcome, Work};
use super::link::later;
use super::settings::{Camera, CameraTool, Machine};
use super::{ProcessEvent, Program};

/// How long a picture may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The width of a picture when the caller names none, and the widest, in pixels.
const WIDTHS: (u64, u64) = (1_280, 4_096);

/// The devices.
pub(super) struct Cameras;

impl Work for Cameras {
    fn begin(&mut self, desk: &mut Desk<'_>) {
        let devices = desk.machine.camera.iter().flat_map(|camera| &camera.devices);
        let devices: Vec<Value> = devices
            .map(|(file, name)| json!({"id": file, "name": name, "position": "external", "deviceType": "v4l2"}))
            .collect();
        desk.answer(Ok(json!({"devices": devices})));
    }

    fn told(&mut self, _: &mut Desk<'_>, _: Outcome) {}
}

/// A picture.
pub(super) struct Snap {
    program: Option<Program>,
    picture: Vec<u8>,
    complaint: Vec<u8>,
    until: Option<Duration>,
}

impl Snap {
    pub(super) fn new(params: &Value, machine: &Machine) -> Result<Self, Fault> {
        let camera = machine.camera.as_ref().ok_or_else(|| Fault::unavailable("command not supported"))?;
        let device = match params.get("deviceId") {
            None | Some(Value::Null) => camera.devices.first(),
            // Only a device that was found: the caller's word never becomes a path.
            Some(Value::String(wanted)) => camera.devices.iter().find(|(file, _)| file == wanted.trim()),
            Some(_) => return Err(Fault::invalid("deviceId is no string")),
        };
        let (device, _) = device.ok_or_else(|| Fault::invalid("no such camera; see camera.list"))?;
        let width = match params.get("maxWidth") {
            None | Some(Value::Null) => WIDTHS.0,
            Some(width) => {
                width.as_u64().filter(|width| (16..=WIDTHS.1).contains(width)).ok_or_else(|| {
                    Fault::invalid(format!("maxWidth is no whole number from 16 to {}", WIDTHS.1))
                })?
            }
        };
        let args = arguments(camera, device, width);
        let program =
            Program { program: camera.program.clone(), args, env: machine.environment.clone(), cwd: None };
        Ok(Self { program: Some(program), picture: Vec::new(), complaint: Vec::new(), until: None })
    }

    fn end(&mut self) -> Result<Value, Fault> {
        let bytes = std::mem::take(&mut self.picture);
        let Some((width, height)) = size(&bytes) else {
            let complaint = String::from_utf8_lossy(&self.complaint);
            return Err(Fault::unavailable(format!("CAMERA_UNAVAILABLE: {}", complaint.trim())));
        };
        Ok(json!({"format": "jpg", "base64": STANDARD.encode(bytes), "width": width, "height": height}))
    }
}

fn arguments(camera: &Camera, device: &str, width: u64) -> Vec<String> {
    let scale = format!("scale='min({width},iw)':-2");
    let size = format!("{width}x{}", width * 3 / 4);
    let words: Vec<&str> = match camera.tool {
        CameraTool::Ffmpeg => vec![
            "-hide_banner",
            "-loglevel",
            "error",
            "-f",
            "v4l2",
            "-i",
            device,
            "-frames:v",
            "1",
            "-vf",
            &scale,
            "-f",
            "image2pipe",
            "-c:v",
            "mjpeg",
            "-",
        ],
        CameraTool::Fswebcam => vec!["-q", "--no-banner", "-d", device, "-r", &size, "--jpeg", "85", "-"],
    };
    words.into_iter().map(str::to_owned).collect()
}

impl Work for Snap {
    fn begin(&mut self, desk: &mut Desk<'_>) {
        self.until = Some(later(desk.now, PATIENCE));
        if let Some(program) = self.program.take() {
            desk.act(Act::Spawn(program));
        }
    }

    fn told(&mut self, _: &mut Desk<'_>, _: Outcome) {}

    fn moved(&mut self, desk: &mut Desk<'_>, event: ProcessEvent) {
        match event {
            ProcessEvent::Stdout(bytes) => {
                self.picture.extend_from_slice(&bytes);
                if self.picture.len() > length(limits::NODE_PICTURE_BYTES) {
                    desk.answer(Err(Fault::unavailable(
                        "CAMERA_UNAVAILABLE: the picture is too large; ask for a smaller maxWidth",
                    )));
                }
            }
            ProcessEvent::Stderr(bytes) => {
                let room = 500_usize.saturating_sub(self.complaint.len());
                self.complaint.extend(bytes.iter().take(room));
            }
            ProcessEvent::Exited(_) => {
                let outcome = self.end();
                desk.answer(outcome);
            }
            ProcessEvent::Failed(reason) => {
                desk.answer(Err(Fault::unavailable(format!("CAMERA_UNAVAILABLE: {reason}"))));
            }
        }
    }

    fn deadline(&self) -> Option<Duration> {
        self.until
    }

    fn due(&mut self, desk: &mut Desk<'_>) {
        desk.answer(Err(Fault::timeout("CAMERA_UNAVAILABLE: the camera gave no picture in time")));
    }
}

/// Width and height of a JPEG picture.
fn size(bytes: &[u8]) -> Option<(u16, u16)> {
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let [0xff, marker, after @ ..] = rest else { return None };
        match marker {
            // Padding.
            0xff => rest = rest.get(1..)?,
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let [_, _, _, h1, h2, w1, w2, ..] = after else { return None };
                return Some((u16::from_be_bytes([*w1, *w2]), u16::from_be_bytes([*h1, *h2])));
            }
            0xd8..=0xda => return None,
            _ => {
                let [l1, l2, ..] = after else { return None };
                rest = after.get(usize::from(u16::from_be_bytes([*l1, *l2])).max(2)..)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// The head of a picture that is 640 wide and 480 high.
    pub(crate) const PICTURE: &[u8] =
        &[0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc0, 0, 11, 8, 0x01, 0xe0, 0x02, 0x80, 3, 0, 0, 0];

    #[test]
    fn a_picture_tells_its_size() {
        assert_eq!(size(PICTURE), Some((640, 480)));
        assert_eq!(size(b"no picture"), None);
        assert_eq!(size(&PICTURE[..12]), None);
    }

    #[test]
    fn only_a_camera_that_was_found_is_opened() {
        let camera = Camera {
            program: "/usr/bin/ffmpeg".to_owned(),
            tool: CameraTool::Ffmpeg,
            devices: vec![("/dev/video0".to_owned(), "Desk".to_owned())],
        };
        let machine = Machine { camera: Some(camera), ..Machine::default() };
        let made = Snap::new(&json!({}), &machine).unwrap();
        assert!(made.program.unwrap().args.contains(&"/dev/video0".to_owned()));
        for params in [
            json!({"deviceId": "/etc/passwd"}),
            json!({"deviceId": 0}),
            json!({"maxWidth": 1}),
            json!({"maxWidth": "x"}),
        ] {
            assert!(Snap::new(&params, &machine).is_err(), "{params}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_measured_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = size(&bytes);
            let _ = size(&[&[0xff, 0xd8][..], &bytes].concat());
        }
    }
}
