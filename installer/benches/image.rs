//! How fast an image is sealed, checked and written: `make bench`. Figures, no verdicts.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::time::Instant;

use harrow::image::manifest::{FileEntry, Verity};
use harrow::image::set::CheckedReader;
use harrow::image::verity::{self, Params};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

const SIZE: usize = 512 << 20;

fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("slot.img");
    let data: Vec<u8> = (0..SIZE)
        .map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect();
    let seal = |threads| -> anyhow::Result<Verity> {
        std::fs::write(&path, &data)?;
        let mut file = File::options().read(true).write(true).open(&path)?;
        let params = Params {
            salt: vec![1; 32],
            uuid: Uuid::nil(),
        };
        timed(&format!("hash tree, {threads} thread(s)"), || {
            verity::append_tree(&mut file, &params, threads)
        })
    };
    seal(1)?;
    let tree = seal(2)?;
    timed("hash tree, verified as a stream", || {
        verity::verify(
            &mut std::io::BufReader::with_capacity(1 << 20, File::open(&path)?),
            &tree,
        )
    })?;
    let entry = FileEntry {
        name: "slot.img".into(),
        size: std::fs::metadata(&path)?.len(),
        sha256: hex::encode(Sha256::digest(std::fs::read(&path)?)),
    };
    timed("streamed to a file, digest checked", || {
        let mut reader = CheckedReader::new(File::open(&path)?, "slot.img".into(), &entry);
        let mut out = File::create(dir.path().join("out"))?;
        let mut buffer = vec![0; 4 << 20];
        loop {
            let count = reader.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            out.write_all(&buffer[..count])?;
        }
    })
}

fn timed<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    let result = work()?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{what:<40} {:>6.0} MiB/s", (SIZE >> 20) as f64 / seconds);
    Ok(result)
}
