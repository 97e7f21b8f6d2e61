//! Well-formed inputs to begin with.

use outlast_format::{Compressor, encode_unpacked};

use crate::evidence::{identity_text, true_checkpoint, true_entry, true_receipt};
use crate::{IV, key};

const ID: &str = "5b28bb3c1d9bbb2a15f7bb1d6b1b1b5e0e7e7a2f7ce5c0f6f3b2a1908f7e6d5c";

fn texts(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter()
        .map(|text| text.replace("ID", ID).into_bytes())
        .collect()
}

/// A sheet, and the bodies of its sections without version and check.
fn kit_seeds() -> Vec<Vec<u8>> {
    let text = "\
K-1/3: 053A YZMN SXMM JJAW 63Z2 KV2M 7PDH K796  N6W2
S1-8/8: Q0  BN99
C1-1/3: 053A YZMN SW1G 02KJ CNR6 YWV9 EHQQ 4Y80  RGVA
C1-2/3: 1GQQ 8VBG 5XNQ 8BVJ CNR6 Y000 0009 HM7X  68H5
C1-3/3: G0  YFPK
";
    let folder = b"\x03\x00\x01a\x00\x02/b\x00\x00\x80\x02\x01\x23";
    let rest = b"\x04\x00\x01a\x00\x0ahttps://x/\x01\x00\x01u\x80\x01\xab";
    let bucket = b"\x02\x00\x01a\x00\x01e\x00\x01r\x00\x01b\x00\x01p\x00";
    let vault = [
        b"\x01\x00\x01a\x01\x00\x03h:1\x00\x00\x00".as_slice(),
        &[identity_text().len() as u8],
        identity_text().as_bytes(),
        b"\x00\x03web\x01\x80\x08\x01\x02\x03\x04\x05\x06\x07\x08\x80\x01\xab",
    ]
    .concat();
    let key = [[3; 16].as_slice(), b"\x00\x02pw"].concat();
    let share = [[3; 16].as_slice(), &[2, 2], &[9; 32], b"\x00\x02xy"].concat();
    let bodies = [
        folder.to_vec(),
        rest.to_vec(),
        bucket.to_vec(),
        vault,
        key,
        share,
    ];
    let mut seeds = vec![text.as_bytes().to_vec()];
    seeds.extend(bodies);
    seeds
}

/// The inputs of a target. Unknown ones begin with nothing.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "config" => texts(&[r#"{"version":2,"id":"ID","chunker_polynomial":"3da3358b4dc173"}"#]),
        "key_file" => texts(&[
            r#"{"created":"2026-01-02T03:04:05.678+01:00","username":"u","hostname":"h","kdf":"scrypt","N":2,"r":8,"p":1,"salt":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw==","data":"AQEBAQEBAQEBAQEBAQEBAQ=="}"#,
        ]),
        "index" => texts(&[
            r#"{"packs":[{"id":"ID","blobs":[{"id":"ID","type":"data","offset":0,"length":50},{"id":"ID","type":"tree","offset":50,"length":60,"uncompressed_length":99}]}]}"#,
            r#"[{"id":"ID","blobs":[]}]"#,
            r#"{"supersedes":["ID"],"packs":[]}"#,
        ]),
        "lock" => texts(&[
            r#"{"time":"2026-01-02T03:04:05Z","exclusive":true,"hostname":"h","username":"u","pid":12,"uid":3,"gid":4}"#,
        ]),
        "snapshot" => texts(&[
            r#"{"time":"2026-01-02T03:04:05.6789+02:00","parent":"ID","tree":"ID","paths":["/home"],"hostname":"h","username":"u","uid":1,"gid":2,"excludes":["*.tmp"],"tags":["a","b"],"original":"ID","program_version":"restic 0.19.1","summary":{"backup_start":"2026-01-02T03:04:05Z","backup_end":"2026-01-02T03:04:06Z","files_new":1,"files_changed":2,"files_unmodified":3,"dirs_new":4,"dirs_changed":5,"dirs_unmodified":6,"data_blobs":7,"tree_blobs":8,"data_added":9,"data_added_packed":10,"total_files_processed":11,"total_bytes_processed":12}}"#,
            r#"{"time":"0001-01-01T00:00:00Z","tree":"ID","paths":null}"#,
        ]),
        "tree" => texts(&[
            r#"{"nodes":[{"name":"a","type":"file","mode":420,"mtime":"2026-01-02T03:04:05Z","atime":"2026-01-02T03:04:05Z","ctime":"2026-01-02T03:04:05Z","uid":1,"gid":2,"user":"u","group":"g","inode":3,"device_id":4,"size":5,"links":1,"extended_attributes":[{"name":"user.x","value":"AAE="}],"content":["ID"]},{"name":"b\\xff","type":"dir","mode":2147484141,"mtime":"2026-01-02T03:04:05Z","atime":"2026-01-02T03:04:05Z","ctime":"2026-01-02T03:04:05Z","uid":1,"gid":2,"content":null,"subtree":"ID"},{"name":"c","type":"symlink","linktarget":"x","linktarget_raw":"/w==","content":null}]}"#,
            "{\"nodes\":[]}\n",
        ]),
        "unpacked" => {
            let mut list = texts(&["{}", "[]", r#"{"packs":[]}"#, "\u{2}"]);
            let sealed = encode_unpacked(b"{\"packs\":[]}", 2, &key(), IV);
            list.extend(sealed.ok().and_then(|bytes| key().open(&bytes).ok()));
            list
        }
        "pack_header" => {
            let mut entry = vec![0, 0, 0, 0, 2, 40, 0, 0, 0, 99, 0, 0, 0];
            entry.extend([5; 32]);
            let mut plain = vec![0, 0, 0, 0, 0, 60, 0, 0, 0];
            plain.extend([6; 32]);
            let both = [entry.clone(), plain[4..].to_vec()].concat();
            vec![entry, plain, both]
        }
        "zstd" | "blob" => {
            let text = b"some text, some text, some text, some more text".repeat(20);
            let compressed = Compressor::new(3)
                .and_then(|mut compressor| compressor.compress(&text))
                .unwrap_or_default();
            let claimed = [
                (text.len() as u32).to_le_bytes().to_vec(),
                compressed.clone(),
            ]
            .concat();
            vec![compressed, claimed, text]
        }
        "go_name" => texts(&[
            "plain",
            "\\xff\\u00e4\\U0001f600\\n\\101",
            "\u{e4}\u{301}\"\\",
        ]),
        "go_time" => texts(&[
            "2026-01-02T03:04:05.123456789+01:30",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59-12:00",
        ]),
        "argument" => texts(&[
            "10M",
            "1h30m15s",
            "2026-01-02 03:04:05",
            r#"cat 'a b' "c\"d" e"#,
        ]),
        "keep_text" => texts(&["1y5m7d2h", "unlimited", "7", "host,paths", "host,tags"]),
        "location" => texts(&[
            "/srv/backup",
            "local:relative/path",
            "rest:https://user:pass@host:8000/path/",
            "rest:http://[::1]:8000/%C3%A4/",
        ]),
        "pattern" => texts(&[
            "*.tmp\n/home/user/file.tmp",
            "/home/**/[a-c]?e\\*\n/home/x/y/cde*",
            "!keep\nkeep/below",
            "**/a/**/b/**\na/a/a/b/b/b/a",
        ]),
        "request" => texts(&[
            "/ana/data/ID\nbytes=10-99\nBasic YW5hOnNlY3JldA==",
            "/a%20b/../%2e%2e%2f//\nbytes=-5\nBasic Og==",
            "/\nbytes=7-\n",
        ]),
        "bucket_page" => texts(&[
            "<ListVersionsResult><IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>\
             <NextKeyMarker>a%2Fb</NextKeyMarker><Version><Key>a%2Fb</Key><VersionId>v+1</VersionId>\
             <Size>12</Size><ETag>&quot;x&quot;</ETag></Version><DeleteMarker><Key>k&amp;&#33;</Key>\
             </DeleteMarker></ListVersionsResult>",
            "<ListBucketResult><Contents><Key>k</Key><Size>5</Size></Contents></ListBucketResult>",
        ]),
        "rest_listing" => texts(&[
            r#"[{"name":"ID","size":12},{"name":"x"}]"#,
            r#"["ID","other"]"#,
        ]),
        "sftp_answer" => vec![
            vec![2, 0, 0, 0, 3, 0, 0, 0, 1, b'x', 0, 0, 0, 1, b'1'],
            vec![101, 0, 0, 0, 9, 0, 0, 0, 4, 0, 0, 0, 1, b'x', 0, 0, 0, 0],
            vec![103, 0, 0, 0, 9, 0, 0, 0, 3, 1, 2, 3],
            [
                &[104, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, b'x', 0, 0, 0, 0][..],
                &[0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0x81, 0x80, 0, 0, 0, 1, 0, 0, 0, 1],
            ]
            .concat(),
        ],
        "polynomial" => texts(&["3da3358b4dc173"]),
        "object_name" => texts(&["ID"]),
        "shape" => {
            let mut pack = vec![9; 200];
            pack.extend(80_u32.to_le_bytes());
            let mut list = vec![pack];
            list.extend(seeds("key_file"));
            list
        }
        "batch" => {
            let pack = [&[4; 33][..], &[0, 0, 0, 2, 7, 7]].concat();
            let index = [&[3; 33][..], &[0, 0, 0, 0]].concat();
            vec![[&b"outlastB"[..], &pack, &index].concat(), pack]
        }
        "entry" => vec![true_entry()],
        "kit" => kit_seeds(),
        "invite" => [
            r#"{"at":["vault.example:8484","[::1]:1"],"pin":"ID","id":"KEY","repo":"web1","token":"0101010101010101","secret":"ID","scopes":["append","enrol"]}"#,
            "outlast-invite-1:AAAA",
        ]
        .map(|text| text.replace("ID", ID).replace("KEY", &identity_text()).into_bytes())
        .to_vec(),
        "note" => vec![true_checkpoint(), identity_text().into_bytes()],
        "object_list" => {
            let config = [&[5][..], &[0; 32]].concat();
            vec![[&[2; 33][..], &[4; 33], &config].concat(), config]
        }
        "kept_evidence" => vec![crate::custody::true_evidence()],
        "policy" => texts(&[crate::custody::POLICY]),
        "receipt" => vec![true_receipt().into_bytes()],
        "tile" => texts(&[
            "tile/0/x001/x234/067.p/5",
            "tile/entries/000.p/5",
            "tile/7/000",
            "\u{0}\u{3}abc\u{0}\u{0}",
        ]),
        "planted" => vec![vec![3, 1, 2, 3]],
        _ => vec![Vec::new(), vec![0; 40]],
    }
}
