//! Lines that cannot be read, put aside as they are.

use std::io;

use crate::{
    fs::{File, FileSystem, replace},
    lines::Lines,
    record::forget,
};

/// Copies every line of `file` from `offset` on that `is_bad` (or is too long to be judged) to the file `name`, whole
/// or not at all; says how many lines and bytes that were. The same lines under the same name are the same file, so it
/// does no harm to do it again.
pub(crate) fn copy_bad<F: FileSystem>(
    fs: &F,
    name: &str,
    file: &F::File,
    offset: u64,
    is_bad: impl Fn(&[u8]) -> bool,
) -> io::Result<(u64, u64)> {
    copy_lines(fs, name, file, offset, |line| line.is_none_or(&is_bad))
}

/// Copies every line of `file` from `offset` on that `is_wanted` to the file `name`, whole or not at all; says how many
/// lines and bytes that were. A line that is too long to be judged is `None`.
pub(crate) fn copy_lines<F: FileSystem>(
    fs: &F,
    name: &str,
    file: &F::File,
    offset: u64,
    is_wanted: impl Fn(Option<&[u8]>) -> bool,
) -> io::Result<(u64, u64)> {
    let (mut count, mut size) = (0, 0);
    replace(fs, name, |copy| {
        let mut lines = Lines::new(file, offset);
        while let Some(line) = lines.next()? {
            if is_wanted(line.bytes) {
                match line.bytes {
                    Some(bytes) => copy.write_at(bytes, size)?,
                    None => copy_range(file, line.start, line.end, copy, size)?,
                }
                count += 1;
                size += line.end - line.start;
            }
        }
        Ok(())
    })?;
    Ok((count, size))
}

/// Puts a copy of `file` in the place of the file `name`, in which every line that `is_erased` is forgotten, and every
/// other is where it was.
pub(crate) fn copy_without<F: FileSystem>(
    fs: &F,
    name: &str,
    file: &F::File,
    is_erased: impl Fn(Option<&[u8]>) -> bool,
) -> io::Result<()> {
    replace(fs, name, |copy| {
        let mut lines = Lines::new(file, 0);
        while let Some(line) = lines.next()? {
            match line.bytes {
                Some(bytes) if is_erased(line.bytes) => {
                    let mut bytes = bytes.to_vec();
                    forget(&mut bytes);
                    copy.write_at(&bytes, line.start)?;
                }
                Some(bytes) => copy.write_at(bytes, line.start)?,
                None => copy_range(file, line.start, line.end, copy, line.start)?,
            }
        }
        Ok(())
    })
}

/// Copies the bytes of `file` from `start` to `end` into `copy`, in pieces.
pub(crate) fn copy_range<H: File>(file: &H, start: u64, end: u64, copy: &H, at: u64) -> io::Result<()> {
    let (mut offset, mut piece) = (start, vec![0; 64 << 10]);
    while offset < end {
        let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX).min(piece.len());
        let read = file.read_at(piece.get_mut(..wanted).unwrap_or_default(), offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        copy.write_at(piece.get(..read).unwrap_or_default(), at + (offset - start))?;
        offset += read as u64;
    }
    Ok(())
}
