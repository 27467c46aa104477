package node

import (
	"encoding/binary"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

// names are the names of the file that is asked for, as the catalog lists them.
func (a *asked) names() []string {
	var names []string
	seen := map[string]bool{"": true, "_": true}
	add := func(base string) {
		if name := raftfsm.IndexName(base); !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	add(a.name)
	for _, k := range a.query.Keys {
		add(k.Name)
	}
	return names
}

// findWaiting looks for the files in packages without a verdict, once for all queries
// that are not served.
func (f *finder) findWaiting(all []*asked) error {
	wanted := map[string][]*asked{}
	for _, a := range all {
		if a.out.Answer == api.AnswerServed {
			continue
		}
		for _, name := range a.names() {
			wanted[name] = append(wanted[name], a)
			if sym := raftfsm.IndexName(symid.SymStem(name) + ".sym"); a.asksFor(symid.KindBreakpad) {
				wanted[sym] = append(wanted[sym], a)
			}
		}
	}
	names := map[string]bool{}
	for name := range wanted {
		names[name] = true
	}
	if len(names) == 0 {
		return nil
	}
	found, err := f.n.fsm.Waiting(names, waitingLimit*len(all))
	for _, w := range found {
		for _, a := range wanted[raftfsm.IndexName(symid.BaseName(w.Path))] {
			a.addWaiting(w)
		}
	}
	return err
}

func (a *asked) asksFor(kind symid.Kind) bool {
	for _, k := range a.query.Keys {
		if k.Kind == kind {
			return true
		}
	}
	return false
}

func (a *asked) addWaiting(w raftfsm.Waiting) {
	if len(a.out.Waiting) == waitingLimit {
		return
	}
	p := w.Package
	a.out.Waiting = append(a.out.Waiting, api.WaitingFile{Path: w.Path, Package: p.ID, State: p.State, Product: p.Product, Version: p.Version})
	switch {
	case len(a.out.Found) > 0:
	case p.State != catalog.StateStuck:
		a.out.Answer = api.AnswerPending
	case a.out.Answer == api.AnswerNeverSeen:
		a.out.Answer = api.AnswerStuck
	}
}

// findNear collects the keys on record that are almost the ones asked for, the
// nearest first.
func (f *finder) findNear(a *asked) error {
	if a.out.Answer == api.AnswerServed {
		return nil
	}
	near := &nearMisses{f: f, a: a, seen: map[symid.IndexKey]bool{}}
	for _, k := range a.keys {
		near.seen[k.Index()] = true
	}
	for _, k := range a.query.Keys {
		if err := near.sameID(k); err != nil {
			return err
		}
	}
	for _, id := range a.query.IDs {
		if len(id.ID) == 20 && (id.Kind == symid.KindPDB || id.Kind == symid.KindBreakpad) {
			if err := near.begins(api.OtherAge, id.Kind, id.ID[:16]); err != nil {
				return err
			}
		}
	}
	for _, name := range a.names() {
		if err := near.sameName(name); err != nil {
			return err
		}
	}
	return nil
}

type nearMisses struct {
	f    *finder
	a    *asked
	seen map[symid.IndexKey]bool
}

// sameID looks for what else is known under the id of a key.
func (n *nearMisses) sameID(k symid.Key) error {
	switch k.Kind {
	case symid.KindBuildID, symid.KindMachO:
		other := k
		other.Artifact = symid.Executable + symid.Debuginfo - k.Artifact
		if err := n.add(api.OtherArtifact, other); err != nil {
			return err
		}
		return n.ofBuildID(k)
	case symid.KindPDB, symid.KindBreakpad:
		return n.ofGUID(k)
	case symid.KindPE:
		return n.begins(api.OtherName, symid.KindPE, k.ID)
	}
	return nil
}

// ofBuildID looks for Breakpad text of an image, and for an id that was cut or padded
// on its way.
func (n *nearMisses) ofBuildID(k symid.Key) error {
	guid := []byte(k.ID)
	if k.Kind == symid.KindBuildID {
		id := symid.BuildID(k.ID).DebugID(binary.LittleEndian)
		guid = id.GUID[:]
		if len(k.ID) >= 16 {
			if err := n.begins(api.OtherForm, symid.KindBuildID, k.ID[:16]); err != nil {
				return err
			}
		}
	}
	return n.begins(api.OtherForm, symid.KindBreakpad, string(guid))
}

// ofGUID looks for the same GUID under another name, with another age and in another
// format. The debug id of an ELF file is made of its build id, that of a Mach-O image
// is its UUID.
func (n *nearMisses) ofGUID(k symid.Key) error {
	guid := k.ID[:16]
	for _, kind := range []symid.Kind{k.Kind, symid.KindPDB + symid.KindBreakpad - k.Kind} {
		keys, err := n.f.withID(kind, guid, bareLimit)
		if err != nil {
			return err
		}
		for _, other := range keys {
			if err := n.add(relation(k, other), other); err != nil {
				return err
			}
		}
	}
	if k.Kind != symid.KindBreakpad {
		return nil
	}
	swapped := symid.GUIDFromLE([]byte(guid)) // its own inverse
	if err := n.begins(api.OtherForm, symid.KindBuildID, string(swapped[:])); err != nil {
		return err
	}
	return n.begins(api.OtherForm, symid.KindMachO, guid)
}

// relation tells apart keys with the same GUID.
func relation(k, other symid.Key) api.Relation {
	switch {
	case k.ID[16:] != other.ID[16:]:
		return api.OtherAge
	case k.Kind != other.Kind:
		return api.OtherForm
	}
	return api.OtherName
}

func (n *nearMisses) begins(r api.Relation, kind symid.Kind, prefix string) error {
	keys, err := n.f.withID(kind, prefix, bareLimit)
	for i := 0; err == nil && i < len(keys); i++ {
		err = n.add(r, keys[i])
	}
	return err
}

// sameName adds the newest other ids of a name, those of the kinds asked for first.
func (n *nearMisses) sameName(name string) error {
	carriers, err := n.f.n.fsm.Carriers(name, 4*nearLimit)
	if err != nil {
		return err
	}
	for _, alike := range []bool{true, false} {
		for _, c := range carriers {
			k, err := symid.ParseIndexKey(c.Key)
			if err != nil || alike != n.a.asksFor(k.Kind) {
				continue
			}
			n.addIn(api.OtherID, k, c.Package)
		}
	}
	return nil
}

// add takes a key if any package carries it.
func (n *nearMisses) add(r api.Relation, k symid.Key) error {
	if n.full() || n.seen[k.Index()] {
		return nil
	}
	candidates, err := n.f.n.fsm.LookupAll(k.Index(), 1)
	if err != nil || len(candidates) == 0 {
		return err
	}
	p, err := n.f.n.fsm.Package(candidates[0].Package)
	if err == nil {
		n.addIn(r, k, p)
	}
	return err
}

func (n *nearMisses) addIn(r api.Relation, k symid.Key, p catalog.Package) {
	if n.full() || n.seen[k.Index()] {
		return
	}
	n.seen[k.Index()] = true
	n.a.out.Near = append(n.a.out.Near, api.NearMiss{Relation: r, Key: shownPath(k), Package: p.ID, State: p.State, Product: p.Product, Version: p.Version})
}

func (n *nearMisses) full() bool { return len(n.a.out.Near) >= nearLimit }
