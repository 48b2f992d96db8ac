//! Reads a growing log file line by line, from its present end on, across rotation.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// A position in a log file that others write.
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end is not written yet.
    unfinished: Vec<u8>,
    /// True while the rest of a line that began before our time is skipped.
    skipping: bool,
}

impl Tail {
    /// Begins at the present end. A file that is not there yet is read from its beginning once it is.
    pub(super) fn at_end(path: PathBuf) -> io::Result<Self> {
        let mut tail = Self {
            path,
            file: None,
            unfinished: Vec::new(),
            skipping: false,
        };
        let Some(mut file) = tail.open()? else {
            return Ok(tail);
        };
        let end = file.seek(SeekFrom::End(0))?;
        if end > 0 {
            file.seek(SeekFrom::Start(end - 1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            tail.skipping = last != *b"\n";
        }
        tail.file = Some(file);
        Ok(tail)
    }

    /// Every line that was completed since the last call.
    pub(super) fn lines(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            if self.file.is_none() {
                self.file = self.open()?;
            }
            let Some(file) = &mut self.file else {
                return Ok(lines);
            };
            let mut read = Vec::new();
            file.read_to_end(&mut read)?;
            self.take(&read, &mut lines);
            if !self.was_replaced()? {
                return Ok(lines);
            }
            // What was written between our read and the rotation is still in the file that we hold.
            if let Some(mut rotated) = self.file.take() {
                let mut rest = Vec::new();
                rotated.read_to_end(&mut rest)?;
                self.take(&rest, &mut lines);
            }
            self.unfinished.clear();
            self.skipping = false;
        }
    }

    fn open(&self) -> io::Result<Option<File>> {
        match File::open(&self.path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// True if the path names another file by now, or the same one begun anew.
    fn was_replaced(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        match fs::metadata(&self.path) {
            Ok(now) => {
                let held = file.metadata()?;
                Ok((now.dev(), now.ino()) != (held.dev(), held.ino())
                    || now.len() < file.stream_position()?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, read: &[u8], lines: &mut Vec<String>) {
        self.unfinished.extend_from_slice(read);
        let Some(end) = self.unfinished.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        let rest = self.unfinished.split_off(end + 1);
        let complete = std::mem::replace(&mut self.unfinished, rest);
        let text = String::from_utf8_lossy(&complete);
        let skipped = usize::from(std::mem::take(&mut self.skipping));
        lines.extend(
            text.lines()
                .skip(skipped)
                .filter(|line| !line.is_empty())
                .map(str::to_owned),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn append(path: &std::path::Path, text: &str) {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn only_complete_lines_written_after_the_start_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        append(&path, "old\n");
        let mut tail = Tail::at_end(path.clone()).unwrap();
        assert!(tail.lines().unwrap().is_empty());
        append(&path, "one\ntw");
        assert_eq!(tail.lines().unwrap(), ["one"]);
        append(&path, "o\n");
        assert_eq!(tail.lines().unwrap(), ["two"]);
    }

    #[test]
    fn a_line_that_was_half_written_at_the_start_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        append(&path, "old\nhal");
        let mut tail = Tail::at_end(path.clone()).unwrap();
        append(&path, "f\nnew\n");
        assert_eq!(tail.lines().unwrap(), ["new"]);
    }

    #[test]
    fn rotation_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut tail = Tail::at_end(path.clone()).unwrap();
        assert!(tail.lines().unwrap().is_empty());
        append(&path, "one\n");
        assert_eq!(tail.lines().unwrap(), ["one"]);
        append(&path, "two\n");
        fs::rename(&path, folder.path().join("audit-1.log")).unwrap();
        append(&path, "three\n");
        assert_eq!(tail.lines().unwrap(), ["two", "three"]);
        fs::write(&path, "4\n").unwrap();
        assert_eq!(tail.lines().unwrap(), ["4"]);
    }
}
