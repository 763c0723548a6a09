//! Where events are written: standard output, from where the journal takes them, or a file. A file that was renamed or
//! removed, as logrotate does, is made anew.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Events tell who speaks to whom: root and its group may read them.
const FILE_MODE: u32 = 0o640;

/// An open end.
#[derive(Debug)]
pub struct Sink {
    path: Option<PathBuf>,
    file: Option<File>,
}

impl Sink {
    /// Standard output where there is no path. Nothing is opened before the first write.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path, file: None }
    }

    /// Writes whole lines.
    ///
    /// # Errors
    /// The system's. The next call tries again.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(path) = &self.path else {
            let mut out = io::stdout().lock();
            out.write_all(lines)?;
            return out.flush();
        };
        if self.file.as_ref().is_none_or(|file| was_moved(file, path)) {
            self.file = Some(OpenOptions::new().create(true).append(true).mode(FILE_MODE).open(path)?);
        }
        self.file.as_mut().expect("it was opened").write_all(lines)
    }
}

fn was_moved(file: &File, path: &Path) -> bool {
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), path.metadata()) {
        (Ok(open), Ok(named)) => id(open) != id(named),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_rotated_is_made_anew() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (path, old) = (folder.path().join("events"), folder.path().join("events.1"));
        let read = |path: &Path| std::fs::read_to_string(path).expect("it is there");
        let mut sink = Sink::new(Some(path.clone()));
        sink.write(b"1\n").expect("written");
        std::fs::rename(&path, &old).expect("renamed");
        sink.write(b"2\n").expect("written");
        sink.write(b"3\n").expect("written");
        assert_eq!((read(&old), read(&path)), ("1\n".into(), "2\n3\n".into()));
        let mut nowhere = Sink::new(Some(folder.path().join("no/events")));
        assert!(nowhere.write(b"x\n").is_err());
    }
}
