package raftfsm

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// A fileRow is one file of a package: digest and size in front, so that a commit
// need not parse the rest.
type fileRow struct {
	digest   catalog.Digest
	size     int64
	released bool // its reference is gone
	fileFacts
}

// fileFacts is the JSON part of a file row.
type fileFacts struct {
	Path   string              `json:"path"`
	Source string              `json:"source,omitempty"` // as in FileEntry; level 3
	Token  uint64              `json:"token,omitempty"`  // claim under which Report was written
	Report *catalog.FileReport `json:"report,omitempty"`
}

const fileHeadLen = 32 + 8 + 1

func (r *fileRow) encode() []byte {
	b := make([]byte, 0, 256)
	b = append(b, r.digest[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.size))
	b = append(b, flag(r.released))
	return append(b, mustJSON(r.fileFacts)...)
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// fileHead reads the front of a file row.
func fileHead(v []byte) (catalog.Digest, int64) {
	return catalog.Digest(v[:32]), int64(binary.BigEndian.Uint64(v[32:]))
}

func decodeFile(v []byte) *fileRow {
	if len(v) < fileHeadLen {
		panic(fmt.Sprintf("raftfsm: file row: %d bytes, wanted at least %d", len(v), fileHeadLen))
	}
	r := &fileRow{released: v[40] == 1}
	r.digest, r.size = fileHead(v)
	if err := json.Unmarshal(v[fileHeadLen:], &r.fileFacts); err != nil {
		panic(fmt.Sprintf("raftfsm: file row: %v", err))
	}
	return r
}

// file turns row no into the catalog's noun, without findings.
func (r *fileRow) file(no int) catalog.File {
	f := catalog.File{No: no, Path: r.Path, Source: r.Source, Size: r.size, SHA256: r.digest}
	if r.Report != nil {
		f.Kind, f.Arch, f.IDs = r.Report.Kind, r.Report.Arch, r.Report.IDs
		f.Quality = r.Report.Quality
		for _, k := range r.Report.Keys {
			f.Keys = append(f.Keys, k.Key)
		}
	}
	return f
}

// fileKey names file no of a package.
func fileKey(id catalog.PackageID, no int) []byte {
	return binary.BigEndian.AppendUint32([]byte(id), uint32(no))
}

// fileNo is the number in a key of the files bucket.
func fileNo(k []byte) int { return int(binary.BigEndian.Uint32(k[packageLen:])) }

func fileByNo(tx *bolt.Tx, id catalog.PackageID, no int) *fileRow {
	v := tx.Bucket(bucketFiles).Get(fileKey(id, no))
	if v == nil {
		return nil
	}
	return decodeFile(v)
}

func (s *state) putFile(id catalog.PackageID, no int, r *fileRow) {
	s.put(bucketFiles, fileKey(id, no), r.encode())
}

// refKey is the row of the refs bucket that says: this file lists this digest.
func refKey(d catalog.Digest, id catalog.PackageID, no int) []byte {
	return append(d[:], fileKey(id, no)...)
}

// findingPrefix starts the keys of the findings of one file, or of the package
// itself for -1, under one token.
func findingPrefix(id catalog.PackageID, token uint64, no int) []byte {
	b := binary.BigEndian.AppendUint64([]byte(id), token)
	return binary.BigEndian.AppendUint32(b, uint32(no+1))
}

func findingKey(id catalog.PackageID, token uint64, no, pos int) []byte {
	return binary.BigEndian.AppendUint32(findingPrefix(id, token, no), uint32(pos))
}

func decodeFinding(v []byte) catalog.Finding {
	var f catalog.Finding
	if err := json.Unmarshal(v, &f); err != nil {
		panic(fmt.Sprintf("raftfsm: finding row: %v", err))
	}
	return f
}

// rankPrefix starts the candidate rows of one key at one rank. The length in front
// keeps a key apart from one that starts with it; ranks sort downwards.
func rankPrefix(key symid.IndexKey, rank int) []byte {
	return binary.BigEndian.AppendUint32(keyPrefix(key), ^uint32(rank))
}

func keyPrefix(key symid.IndexKey) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(key))), key...)
}

// A candidateKey is a key of the candidates bucket, taken apart.
type candidateKey struct {
	rank   int
	digest catalog.Digest
	pkg    catalog.PackageID
	no     int
}

const candidateTail = 4 + 32 + packageLen + 4

func (c candidateKey) encode(key symid.IndexKey) []byte {
	b := append(rankPrefix(key, c.rank), c.digest[:]...)
	return append(b, fileKey(c.pkg, c.no)...)
}

// decodeCandidate reads what follows the key prefix of length n.
func decodeCandidate(k []byte, n int) candidateKey {
	t := k[n:]
	if len(t) != candidateTail {
		panic(fmt.Sprintf("raftfsm: candidate row: key of %d bytes after the index key, wanted %d", len(t), candidateTail))
	}
	return candidateKey{
		rank:   int(^binary.BigEndian.Uint32(t)),
		digest: catalog.Digest(t[4:36]),
		pkg:    catalog.PackageID(t[36 : 36+packageLen]),
		no:     int(binary.BigEndian.Uint32(t[36+packageLen:])),
	}
}

// candidateValue is the token the row was written under, then the base name.
func candidateValue(token uint64, name string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, token), name...)
}

// visible returns the token and index of a package's verdict if it is good.
func visible(tx *bolt.Tx, id []byte) (token, index uint64, ok bool) {
	v := tx.Bucket(bucketVisible).Get(id)
	if v == nil {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), true
}
