//! Numbers, documents and archives.

use crate::at_once::{Failure, at_once, expect_same};
use rand::RngExt;
use std::collections::HashSet;
use std::io::{Cursor, Read, Write};
use std::time::Duration;

pub fn rand(count: usize) -> Result<(), Failure> {
    let numbers = at_once(count, |_| {
        // It is an `Rc` of the thread's generator, held here over waits.
        let mut generator = rand::rng();
        let mut number = || {
            std::thread::sleep(Duration::from_micros(100));
            generator.random::<u64>()
        };
        Ok([(); 8].map(|()| number()))
    })?;
    let different: HashSet<u64> = numbers.into_iter().flatten().collect();
    expect_same(different.len(), 8 * count)
}

pub fn serde_json(count: usize) -> Result<(), Failure> {
    at_once(count, |number| {
        let mut document =
            serde_json::json!({ "number": number, "text": "a goose\u{2003}\"honks\"" });
        for level in 0..60 {
            document = serde_json::json!({ "level": level, "inner": [document] });
        }
        let text = serde_json::to_string(&document)?;
        expect_same(
            serde_json::from_str::<serde_json::Value>(&text)? == document,
            true,
        )
    })?;
    Ok(())
}

/// Bytes that neither are all the same nor look random.
fn bytes(number: usize) -> Vec<u8> {
    (0..64 * 1024)
        .map(|index| ((index * index / 97) ^ number) as u8)
        .collect()
}

pub fn flate2(count: usize) -> Result<(), Failure> {
    at_once(count, |number| {
        let bytes = bytes(number);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&bytes)?;
        let packed = encoder.finish()?;
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked)?;
        expect_same(unpacked == bytes, true)
    })?;
    Ok(())
}

pub fn zip(count: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    at_once(count, |number| {
        let path = folder.path().join(format!("{number}.zip"));
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        for name in ["one", "two", "three"] {
            archive.start_file(name, options)?;
            write!(archive, "{name} of {number}")?;
        }
        std::fs::write(&path, archive.finish()?.into_inner())?;
        let mut archive = zip::ZipArchive::new(std::fs::File::open(&path)?)?;
        for name in ["one", "two", "three"] {
            let mut text = String::new();
            archive.by_name(name)?.read_to_string(&mut text)?;
            expect_same(text, format!("{name} of {number}"))?;
        }
        Ok(())
    })?;
    Ok(())
}
