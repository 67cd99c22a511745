//! Writes the reference pages of the documentation.

use std::io;

fn main() -> io::Result<()> {
    let folder = telson_reference::book().join("reference");
    std::fs::create_dir_all(&folder)?;
    for page in telson_reference::pages() {
        std::fs::write(folder.join(page.name), page.text)?;
    }
    Ok(())
}
