package raftfsm

import (
	"bytes"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// storedKey is the index key of the candidate rows that a package has for a key. A
// source file is one of every program of its package, and of no other package: the id of
// the package stands where a debugger puts a build id. So a push adds sources to build
// ids in its own package alone, and one row serves all of these.
func storedKey(id catalog.PackageID, k symid.Key) symid.IndexKey {
	if k.Kind == symid.KindSource {
		k.ID = string(id)
	}
	return k.Index()
}

// ofSource reports whether a candidate row is that of a source file.
func ofSource(k []byte) bool { return symid.Kind(k[2]) == symid.KindSource }

// lookupSource is lookup for a source key with a build id: the files under its path in
// the good packages that have the build id. The order of better makes the one whose
// verdict came first go first, whatever other packages say of the same path.
func lookupSource(tx *bolt.Tx, key symid.IndexKey) (found []catalog.Candidate) {
	asked, err := symid.ParseIndexKey(key)
	if err != nil {
		return nil
	}
	seen := map[catalog.PackageID]bool{}
	c := tx.Bucket(bucketCandidates).Cursor()
	for _, program := range programs(asked) {
		prefix := keyPrefix(program.Index())
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			id := decodeCandidate(k, len(prefix)).pkg
			token, _, ok := visible(tx, []byte(id))
			if !ok || token != binary.BigEndian.Uint64(v) || seen[id] {
				continue
			}
			seen[id] = true
			found = append(found, lookupRows(tx, storedKey(id, asked))...)
		}
	}
	return found
}

// programs lists the keys of the programs that a source key can mean.
func programs(asked symid.Key) []symid.Key {
	id := symid.BuildID(asked.ID)
	keys := []symid.Key{symid.BuildIDKey(id, symid.Debuginfo, ""), symid.BuildIDKey(id, symid.Executable, "")}
	if len(id) == 16 {
		uuid := symid.GUID([]byte(id))
		keys = append(keys, symid.MachOKey(uuid, symid.Debuginfo, ""), symid.MachOKey(uuid, symid.Executable, ""))
	}
	return keys
}
