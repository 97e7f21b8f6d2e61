//! File modes as Go's `os.FileMode` has them, which differ from the system's `st_mode`.

/// A file mode in the bit layout of Go's `os.FileMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mode(pub u32);

/// The type bits of the system's `st_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeBits {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Block device.
    BlockDevice,
    /// Character device.
    CharacterDevice,
    /// Named pipe.
    Fifo,
    /// Unix domain socket.
    Socket,
    /// Anything else.
    Other,
}

const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const NAMED_PIPE: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const SETUID: u32 = 1 << 23;
const SETGID: u32 = 1 << 22;
const CHARACTER_DEVICE: u32 = 1 << 21;
const STICKY: u32 = 1 << 20;
const IRREGULAR: u32 = 1 << 19;

impl Mode {
    /// Converts the system's `st_mode`.
    pub fn from_unix(st_mode: u32) -> Self {
        let kind = match st_mode & 0o170_000 {
            0o100_000 => 0,
            0o040_000 => DIRECTORY,
            0o120_000 => SYMLINK,
            0o060_000 => DEVICE,
            0o020_000 => DEVICE | CHARACTER_DEVICE,
            0o010_000 => NAMED_PIPE,
            0o140_000 => SOCKET,
            _ => IRREGULAR,
        };
        let mut mode = kind | (st_mode & 0o777);
        for (unix, go) in [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)] {
            if st_mode & unix != 0 {
                mode |= go;
            }
        }
        Self(mode)
    }

    /// Permission bits with set-uid, set-gid and sticky, as `chmod` takes them.
    pub fn permissions(self) -> u32 {
        let mut bits = self.0 & 0o777;
        for (unix, go) in [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)] {
            if self.0 & go != 0 {
                bits |= unix;
            }
        }
        bits
    }

    /// What the type bits say.
    pub fn type_bits(self) -> TypeBits {
        match self.0 & (DIRECTORY | SYMLINK | DEVICE | NAMED_PIPE | SOCKET | IRREGULAR) {
            0 => TypeBits::File,
            DIRECTORY => TypeBits::Directory,
            SYMLINK => TypeBits::Symlink,
            DEVICE if self.0 & CHARACTER_DEVICE != 0 => TypeBits::CharacterDevice,
            DEVICE => TypeBits::BlockDevice,
            NAMED_PIPE => TypeBits::Fifo,
            SOCKET => TypeBits::Socket,
            _ => TypeBits::Other,
        }
    }

    /// The ten or more characters in which Go shows a mode, for example `drwxr-xr-x` or `Lrwxrwxrwx`.
    pub fn to_go_string(self) -> String {
        let letters = "dalTLDpSugct?";
        let mut text = String::new();
        for (index, letter) in letters.chars().enumerate() {
            if self.0 & (1 << (31 - index)) != 0 {
                text.push(letter);
            }
        }
        if text.is_empty() {
            text.push('-');
        }
        for (index, letter) in "rwxrwxrwx".chars().enumerate() {
            let set = self.0 & (1 << (8 - index)) != 0;
            text.push(if set { letter } else { '-' });
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_modes_convert_both_ways() {
        for (unix, go, text) in [
            (0o100_644, 0o644, "-rw-r--r--"),
            (0o040_755, (1 << 31) | 0o755, "drwxr-xr-x"),
            (0o120_777, (1 << 27) | 0o777, "Lrwxrwxrwx"),
            (0o020_620, (1 << 26) | (1 << 21) | 0o620, "Dcrw--w----"),
            (0o060_660, (1 << 26) | 0o660, "Drw-rw----"),
            (0o041_777, (1 << 31) | (1 << 20) | 0o777, "dtrwxrwxrwx"),
            (0o104_755, (1 << 23) | 0o755, "urwxr-xr-x"),
        ] {
            let mode = Mode::from_unix(unix);
            assert_eq!(mode.0, go);
            assert_eq!(mode.permissions(), unix & 0o7777);
            assert_eq!(mode.to_go_string(), text);
        }
        assert_eq!(Mode::from_unix(0o140_755).type_bits(), TypeBits::Socket);
        assert_eq!(Mode::from_unix(0o010_755).type_bits(), TypeBits::Fifo);
    }
}
