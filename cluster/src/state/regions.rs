//! Loading the table of mobile prefixes, and asking it.

use super::{Deed, State};
use crate::command::{REGION_ROWS_MAX, Refusal, RegionEdit, Reply};
use crate::regions::{Import, Mistake, Region, Regions};
use std::sync::Arc;

impl From<Mistake> for Refusal {
    fn from(Mistake { field, text }: Mistake) -> Self {
        Refusal::Invalid { field, text }
    }
}

impl State {
    /// Where a number belongs (`DOMAIN.md` §2). Costs some tens of nanoseconds however large the table is.
    pub fn region_of(&self, number: &str) -> Option<Region<'_>> {
        self.content.regions.find(number)
    }

    /// The area code of a number, without its leading 0.
    pub fn area_of(&self, number: &str) -> Option<&str> {
        self.region_of(number).map(|region| region.area_code)
    }

    /// 手机地区: the mobile table in force.
    pub fn regions(&self) -> &Regions {
        &self.content.regions
    }

    /// An import that waits for its next part.
    pub fn region_import(&self) -> Option<&Import> {
        self.content.region_import.as_deref()
    }

    pub(super) fn region_edit(&mut self, edit: &RegionEdit) -> Reply {
        if let Some(reply) = self.lookup().requests.get(&edit.request) {
            return reply.clone();
        }
        let result = self.region_part(edit);
        let reply = Reply::from(result);
        self.remember(edit.request, &reply);
        reply
    }

    /// Takes a part whole or not at all. A refused part leaves the import where it was.
    fn region_part(&mut self, edit: &RegionEdit) -> Result<Reply, Refusal> {
        let at = self.content.at;
        if edit.rows.len() > REGION_ROWS_MAX {
            let text = format!("at most {REGION_ROWS_MAX} rows in a part");
            return Err(Mistake::new("rows", text).into());
        }
        let under_way = self
            .content
            .region_import
            .as_ref()
            .filter(|import| import.import == edit.import && edit.part > 0);
        let mut import = match under_way {
            Some(import) => Import::clone(import),
            None if edit.part == 0 => {
                let actor = super::audit::actor(&edit.actor);
                Import::new(edit.import, edit.replace, actor, at)
            }
            None => {
                let text = "no such import is under way: it was superseded, or begins with part 0";
                return Err(Mistake::new("import", text).into());
            }
        };
        if edit.part != import.parts {
            let text = format!("part {} came, part {} is next", edit.part, import.parts);
            return Err(Mistake::new("part", text).into());
        }
        if edit.replace != import.replace {
            let text = "must be the same in all parts of an import";
            return Err(Mistake::new("replace", text).into());
        }
        import.take(&edit.rows, at)?;
        if !edit.last {
            self.content.region_import = Some(Arc::new(import));
            return Ok(Reply::Done);
        }
        let regions = import.finish(&self.content.regions, at)?;
        self.content.regions = Arc::new(regions);
        self.content.region_import = None;
        let deed = Deed::Regions {
            rows: import.rows,
            replaced: import.replace,
        };
        self.note(&edit.actor, deed, None, None);
        Ok(Reply::Done)
    }
}
