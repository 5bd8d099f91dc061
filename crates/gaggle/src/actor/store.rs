//! Where an actor keeps what must outlive it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Keeps the last state that was saved, as bytes, for whoever comes after a failure or a restart of the
/// process. A table of a database is one as well as a [`FileStore`].
pub trait Store: Send + Sync {
    /// The last state that was saved; `None`: none ever was.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&self) -> io::Result<Option<Vec<u8>>>;

    /// Saves `state` in place of the last. When this has returned it is there for good; if it fails, or
    /// the process ends meanwhile, either this state or the last is there, whole.
    ///
    /// # Errors
    /// When it cannot be written.
    fn save(&self, state: &[u8]) -> io::Result<()>;
}

/// A [`Store`] that is a file: written under another name, synchronised with the disk, then renamed.
///
/// Blocks this goroutine while the disk works. One at a time may save.
///
/// # Examples
/// ```
/// use gaggle::actor::{FileStore, Store};
/// let folder = std::env::temp_dir().join(format!("gaggle-store-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// let store = FileStore::new(folder.join("state"));
/// assert_eq!(store.load()?, None);
/// store.save(b"7 geese")?;
/// assert_eq!(store.load()?.as_deref(), Some(&b"7 geese"[..]));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileStore {
    path: PathBuf,
}

impl FileStore {
    /// The store in the file `path`, which need not exist; its folder must. The file `path` with `.new`
    /// at its end is overwritten by each save.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        FileStore { path: path.into() }
    }
}

impl Store for FileStore {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.path) {
            Ok(state) => Ok(Some(state)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn save(&self, state: &[u8]) -> io::Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let mut file = File::create(&new)?;
        file.write_all(state)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&new, &self.path)?;
        // The name lasts only once its folder does.
        let folder = self
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}
