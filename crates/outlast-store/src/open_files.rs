//! A few files kept open, so that many small reads from one pack need one look-up of its path.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use outlast_object::ObjectName;
use parking_lot::Mutex;
use rustix::fs::fstat;

use crate::local::open_read;

/// Files kept open at most.
const OPEN_FILES_MAX: usize = 32;

/// The files used last, the latest in front.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles {
    files: Mutex<VecDeque<(ObjectName, Arc<File>)>>,
}

impl OpenFiles {
    /// The file of an object and its size, opened now or before.
    pub(crate) fn open(&self, name: &ObjectName, path: &Path) -> io::Result<(Arc<File>, u64)> {
        if let Some(file) = self.take(name) {
            let state = fstat(&*file)?;
            // A file that was removed or replaced behind our back has no name left: open anew,
            // and see what is there now.
            if state.st_nlink > 0 {
                self.keep(*name, Arc::clone(&file));
                return Ok((file, state.st_size.cast_unsigned()));
            }
        }
        let (file, size) = open_read(path)?;
        let file = Arc::new(file);
        self.keep(*name, Arc::clone(&file));
        Ok((file, size))
    }

    /// Lets go of an object's file.
    pub(crate) fn forget(&self, name: &ObjectName) {
        self.files.lock().retain(|(kept, _)| kept != name);
    }

    fn take(&self, name: &ObjectName) -> Option<Arc<File>> {
        let files = self.files.lock();
        files
            .iter()
            .find(|(kept, _)| kept == name)
            .map(|(_, file)| Arc::clone(file))
    }

    fn keep(&self, name: ObjectName, file: Arc<File>) {
        let mut files = self.files.lock();
        files.retain(|(kept, _)| *kept != name);
        files.push_front((name, file));
        files.truncate(OPEN_FILES_MAX);
    }
}
