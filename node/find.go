package node

import (
	"context"
	"fmt"
	"path"
	"strings"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// foundLimit bounds the candidates shown per key.
const foundLimit = 20

// FindKey tells who carries a key, in packages of any state. The query is a lookup
// path as a debugger sends it, or a build id.
func (n *Node) FindKey(ctx context.Context, query string) (api.FindResponse, error) {
	keys, err := queryKeys(query)
	if err != nil {
		return api.FindResponse{}, err
	}
	if err := n.lease.acquire(ctx); err != nil {
		return api.FindResponse{}, fmt.Errorf("find %q: this node cannot tell whether it is up to date: %v: %w", query, err, catalog.ErrUnavailable)
	}
	out := api.FindResponse{Query: query, Keys: []string{}, Found: []api.FoundFile{}}
	for _, k := range keys {
		if k.Name == "" && k.Kind == symid.KindMachO {
			k.Name = "_"
		}
		out.Keys = append(out.Keys, k.Paths()[0])
		served := true // the first good candidate is
		cs, err := n.fsm.LookupAll(k.Index(), foundLimit)
		if err != nil {
			return out, err
		}
		for _, c := range cs {
			f, err := n.foundFile(k, c)
			if err != nil {
				return out, err
			}
			f.Served = c.State == catalog.StateGood && served
			served = served && !f.Served
			out.Found = append(out.Found, f)
		}
	}
	return out, nil
}

func (n *Node) foundFile(k symid.Key, c catalog.Candidate) (api.FoundFile, error) {
	p, err := n.fsm.Package(c.Package)
	if err != nil {
		return api.FoundFile{}, err
	}
	file, err := n.fsm.File(c.Package, c.File)
	if err != nil {
		return api.FoundFile{}, err
	}
	f := api.FoundFile{Path: file.Path, Key: k.Paths()[0], Digest: c.Digest, Candidate: c, Product: p.Product, Version: p.Version, At: p.VerdictAt}
	for _, finding := range file.Findings {
		if finding.Severity == catalog.Error {
			f.Findings = append(f.Findings, finding)
		}
	}
	if b, err := n.fsm.Blob(c.Digest); err == nil {
		for _, id := range b.Holders {
			if m, err := n.fsm.Member(id); err == nil {
				f.Holders = append(f.Holders, m.Name)
			}
		}
	}
	return f, nil
}

// queryKeys reads a lookup path, a URL that ends in one, a bare build id, or the
// UUID of a Mach-O image with or without dashes.
func queryKeys(query string) ([]symid.Key, error) {
	if _, rest, ok := strings.Cut(query, "://"); ok {
		_, query, _ = strings.Cut(rest, "/")
	}
	if l, err := symid.ParseLookup(query); err == nil {
		return l.Keys, nil
	}
	hexID := strings.ReplaceAll(strings.TrimSpace(query), "-", "")
	if id, err := symid.ParseBuildID(hexID); err == nil {
		keys := []symid.Key{symid.BuildIDKey(id, symid.Debuginfo, ""), symid.BuildIDKey(id, symid.Executable, "")}
		if uuid, err := symid.ParseGUID(hexID); err == nil {
			keys = append(keys, symid.MachOKey(uuid, symid.Debuginfo, ""), symid.MachOKey(uuid, symid.Executable, ""))
		}
		return keys, nil
	}
	return nil, fmt.Errorf("find %q: wanted a lookup path such as foo.pdb/GUIDAGE/foo.pdb, or a build id in hex: %w", path.Clean(query), catalog.ErrInvalid)
}
