//! Short names for what wasm imports from its glue: wasm-bindgen's end in sixteen random digits each, in both files, and
//! random digits are what no compression takes away.

/// Both files with short names; the error says what was not understood.
pub fn shorten(wasm: &[u8], glue: &str) -> Result<(Vec<u8>, String), String> {
    let mut reader = Reader { bytes: wasm, at: 8 };
    let mut out = wasm.get(..8).ok_or("no wasm file")?.to_vec();
    let mut glue = glue.to_owned();
    while reader.at < wasm.len() {
        let id = reader.byte()?;
        let body = reader.text()?;
        let body = if id == IMPORTS { renamed(body, &mut glue)? } else { body.to_vec() };
        out.push(id);
        push_leb(&mut out, body.len());
        out.extend(body);
    }
    Ok((out, glue))
}

const IMPORTS: u8 = 2;
const FUNCTION: u8 = 0;

fn renamed(section: &[u8], glue: &mut String) -> Result<Vec<u8>, String> {
    let mut reader = Reader { bytes: section, at: 0 };
    let count = reader.leb()?;
    let mut out = Vec::new();
    push_leb(&mut out, count);
    for index in 0..count {
        let module = reader.text()?;
        let name = std::str::from_utf8(reader.text()?).map_err(|_| "an import's name is no text")?;
        if reader.byte()? != FUNCTION {
            return Err(format!("the import {name} is no function"));
        }
        let kind = reader.leb()?;
        let short = short(index);
        let (from, to) = (format!(" {name}: function"), format!(" {short}: function"));
        if glue.matches(&from).count() != 1 {
            return Err(format!("the import {name} does not stand in the glue once"));
        }
        *glue = glue.replace(&from, &to);
        for text in [module, short.as_bytes()] {
            push_leb(&mut out, text.len());
            out.extend(text);
        }
        out.push(FUNCTION);
        push_leb(&mut out, kind);
    }
    Ok(out)
}

/// `a` to `z`, then `aa`, `ba`, …
fn short(mut index: usize) -> String {
    let mut name = String::new();
    loop {
        name.push(char::from(b'a' + (index % 26) as u8));
        index /= 26;
        if index == 0 {
            return name;
        }
        index -= 1;
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, String> {
        let byte = self.bytes.get(self.at).ok_or("the wasm file ends too early")?;
        self.at += 1;
        Ok(*byte)
    }

    /// An unsigned number in LEB128 (the WebAssembly specification, section 5.2.2).
    fn leb(&mut self) -> Result<usize, String> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number in the wasm file is too long".to_owned())
    }

    /// Bytes behind their length.
    fn text(&mut self) -> Result<&'a [u8], String> {
        let length = self.leb()?;
        let bytes = self.bytes.get(self.at..self.at + length).ok_or("the wasm file ends too early")?;
        self.at += length;
        Ok(bytes)
    }
}

fn push_leb(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_gets_a_short_name_in_both_files_and_nothing_else_changes() {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        let mut imports = vec![2];
        for (name, kind) in [("__wbg_tell_0123456789abcdef", 3), ("__wbg_told_fedcba9876543210", 200)] {
            imports.extend([3, b'm', b'o', b'd', name.len() as u8]);
            imports.extend(name.as_bytes());
            imports.push(FUNCTION);
            push_leb(&mut imports, kind);
        }
        wasm.extend([IMPORTS, imports.len() as u8]);
        wasm.extend(&imports);
        wasm.extend([7, 1, 0]);
        let glue = "{ __wbg_tell_0123456789abcdef: function() {},\n __wbg_told_fedcba9876543210: function() {} }";
        let (shorter, renamed) = shorten(&wasm, glue).expect("it is understood");
        assert_eq!(renamed, "{ a: function() {},\n b: function() {} }");
        assert_eq!(shorter, b"\0asm\x01\0\0\0\x02\x12\x02\x03mod\x01a\0\x03\x03mod\x01b\0\xc8\x01\x07\x01\0");
        assert!(shorten(&wasm[..20], glue).is_err());
        assert!(shorten(&wasm, "").unwrap_err().contains("__wbg_tell_0123456789abcdef"));
    }

    #[test]
    fn no_two_imports_share_a_name() {
        let mut names: Vec<String> = (0..2000).map(short).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 2000);
    }
}
