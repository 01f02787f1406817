//! The writer of dead letters, on the thread that hears of fates: what it cannot write is logged, and nothing stops.

use super::{DeadLetters, FORMAT, Header, LetterType, SUFFIX};
use crate::aside;
use crate::clock::Moment;
use crate::fates::{Fate, FateEvent};
use crate::notices::DropLog;
use crate::typed::Value;
use crate::unwind::{BoxError, catch_panic};
use crate::whole_file;
use std::any::TypeId;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The number of letters that this process has written, by which no two have the same name.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Writes what failed or was lost.
pub(crate) struct Writer {
    to: DeadLetters,
    types: HashMap<TypeId, LetterType>,
    not_kept: u64,
    log: DropLog,
}

impl Writer {
    pub(crate) fn new(to: DeadLetters, types: Vec<LetterType>) -> Self {
        let types = types.into_iter().map(|known| ((known.id)(), known)).collect();
        Writer { to, types, not_kept: 0, log: DropLog::default() }
    }

    /// Writes the sample of an event, if it is one to be kept.
    pub(crate) fn write(&mut self, event: &FateEvent) {
        if matches!(event.fate, Fate::Failed | Fate::Lost)
            && let Err(why) = self.write_letter(event)
        {
            self.log_not_kept(&why);
        }
    }

    fn log_not_kept(&mut self, why: &BoxError) {
        self.not_kept += 1;
        let now = Moment::now();
        if self.log.is_due(now)
            && let Some((letters, _)) = self.log.untold(self.not_kept, now)
        {
            let (folder, why) = (self.to.folder.clone(), aside::shown(why));
            aside::log(move || {
                tracing::error!(
                    "{letters} dead letters could not be kept in {folder:?}, and the pipeline goes on: {why}"
                );
            });
        }
    }

    fn write_letter(&self, event: &FateEvent) -> Result<(), BoxError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let letter = self.letter(event, now)?;
        let (bytes, most) = (letter.len() as u64, self.to.max_bytes);
        if bytes > most {
            return Err(format!("one of {bytes} bytes is larger than max_bytes, {most}").into());
        }
        fs::create_dir_all(&self.to.folder)?;
        self.make_room(bytes)?;

        // Names sort by time; several pipelines may share a folder.
        let (id, written) = (event.sample, WRITTEN.fetch_add(1, Ordering::Relaxed) + 1);
        let name = format!("{:020}-{}-{}-{}-{written}", now.as_nanos(), id.number, id.part, std::process::id());
        whole_file::write(&self.to.folder, &format!("{name}.{SUFFIX}"), letter)?;
        Ok(())
    }

    /// The line and the value.
    fn letter(&self, event: &FateEvent, now: Duration) -> Result<Vec<u8>, BoxError> {
        let known = |value: &Value| self.types.get(&(**value).type_id());
        let value = event.value.as_ref().and_then(|value| Some((value, known(value)?)));
        let header = Header {
            stage: event.stage.clone(),
            number: event.sample.number,
            part: event.sample.part,
            source: event.source.map(str::to_owned),
            fate: event.fate,
            error: event.error.as_ref().map(|failure| aside::text_of(failure.cause())),
            error_type: None,
            r#type: value.map(|(_, known)| (known.name)().to_owned()),
            format: value.map(|_| FORMAT.to_owned()),
            time: now.as_secs_f64(),
        };
        let mut letter = serde_json::to_vec(&header)?;
        letter.push(b'\n');
        if let Some((value, known)) = value {
            letter.extend(catch_panic(|| (known.write)(&**value))?);
        }
        Ok(letter)
    }

    /// Removes the oldest until there is room for so many bytes.
    fn make_room(&self, needed: u64) -> io::Result<()> {
        // Also of what programs in Python were writing there.
        whole_file::remove_abandoned(&self.to.folder, |_| true)?;
        let mut sizes = Vec::new();
        for path in letters(&self.to.folder)? {
            // Others may remove letters meanwhile.
            if let Ok(about) = fs::symlink_metadata(&path) {
                sizes.push((path, about.len()));
            }
        }
        let mut total: u64 = sizes.iter().map(|(_, size)| size).sum();
        let mut left = None;
        for (path, size) in sizes {
            if total + needed <= self.to.max_bytes {
                return Ok(());
            }
            match whole_file::remove(&path) {
                Ok(()) => total -= size,
                // A newer one may go instead.
                Err(error) => left = left.or(Some(error)),
            }
        }
        match left {
            Some(error) if total + needed > self.to.max_bytes => Err(error),
            _ => Ok(()),
        }
    }
}

/// The files of all letters in a folder, oldest first.
pub(super) fn letters(folder: &Path) -> io::Result<Vec<PathBuf>> {
    whole_file::list(folder, |name| name.ends_with(&format!(".{SUFFIX}")))
}
