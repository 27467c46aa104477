package validate_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/validate"
)

// lenient allows whatever may be allowed.
func lenient() catalog.Policy {
	var p catalog.Policy
	for _, c := range validate.Checks() {
		if c.Fixed == "" && c.Code != "GEN-MORE" {
			p.Allow = append(p.Allow, c.Code)
		}
	}
	slices.Sort(p.Allow)
	return p
}

func judgeUnder(t *testing.T, p catalog.Policy, files ...validate.File) validate.Report {
	t.Helper()
	for i := range files {
		files[i].No = i
	}
	rep, err := validate.Package(t.Context(), files, validate.Options{Policy: p})
	if err != nil {
		t.Fatalf("Package: %v", err)
	}
	return rep
}

func TestParsePolicy(t *testing.T) {
	for _, tt := range []struct {
		allow, deny []string
		want, bad   string
	}{
		{[]string{"pdb-fastlink", " PE-PDB-MISMATCH", "PDB-FASTLINK"}, []string{"ELF-DLINK-CRC"}, "allows PDB-FASTLINK PE-PDB-MISMATCH, denies ELF-DLINK-CRC", ""},
		{nil, nil, "", ""},
		{nil, []string{"GEN-EMPTY"}, "denies GEN-EMPTY", ""},
		{[]string{"PDB-FASTLNK"}, []string{""}, "", `"PDB-FASTLNK" is no code`},
		{[]string{"GEN-CONFLICT", "ELF-NOID"}, nil, "", "ELF-NOID cannot be allowed: without an id"},
		{nil, []string{"GEN-MORE"}, "", `"GEN-MORE" is no code`},
		{[]string{"PDB-AGE"}, []string{"PDB-AGE"}, "", "PDB-AGE is allowed and denied"},
	} {
		p, err := validate.ParsePolicy(tt.allow, tt.deny)
		if tt.bad == "" {
			if err != nil || p.String() != tt.want {
				t.Errorf("ParsePolicy(%v, %v) = %v, %v, want %s", tt.allow, tt.deny, p, err, tt.want)
			}
			continue
		}
		if !errors.Is(err, catalog.ErrInvalid) || !strings.Contains(err.Error(), tt.bad) {
			t.Errorf("ParsePolicy(%v, %v) error = %v, want ErrInvalid with %q", tt.allow, tt.deny, err, tt.bad)
		}
	}
}

// An allowed error is a warning, a denied warning an error; both say so, and the
// order of findings follows from what they are then.
func TestPolicyWeighs(t *testing.T) {
	fast := file("a.pdb", symfiletest.PDB{GUID: guid, Age: 1, InfoAge: 2, Types: 1, Features: []uint32{0x494E494D}}.Bytes())
	plain := judgeUnder(t, catalog.Policy{}, fast)
	if plain.Verdict != catalog.Failed || !hasCode(plain, 0, catalog.Error, "PDB-FASTLINK") || !hasCode(plain, 0, catalog.Warning, "PDB-AGE") {
		t.Fatalf("by the table: %s, %v", plain.Verdict, codes(plain, 0))
	}
	allowed := judgeUnder(t, catalog.Policy{Allow: []string{"PDB-FASTLINK"}}, fast)
	if allowed.Verdict != catalog.Good || !hasCode(allowed, 0, catalog.Warning, "PDB-FASTLINK") {
		t.Errorf("allowed: %s, %v, want good with a warning", allowed.Verdict, codes(allowed, 0))
	}
	denied := judgeUnder(t, catalog.Policy{Allow: []string{"PDB-FASTLINK"}, Deny: []string{"PDB-AGE"}}, fast)
	first := denied.Files[0].Findings[0]
	if denied.Verdict != catalog.Failed || first.Code != "PDB-AGE" || first.Severity != catalog.Error || first.Policy != catalog.Denied {
		t.Errorf("denied: %s, first finding %+v, want failed by PDB-AGE", denied.Verdict, first)
	}
	for _, f := range denied.Files[0].Findings {
		if want := map[string]catalog.Weighed{"PDB-FASTLINK": catalog.Allowed, "PDB-AGE": catalog.Denied}[f.Code]; f.Policy != want {
			t.Errorf("finding %s: policy %q, want %q", f.Code, f.Policy, want)
		}
	}
	if keys := func(r validate.Report) string { return strings.Join(paths(r, 0), " ") }; keys(allowed) != keys(plain) || keys(plain) == "" {
		t.Errorf("keys %q under a policy, %q without", keys(allowed), keys(plain))
	}
}

// What a policy of another build would allow stays an error if it is fixed here, and
// files that a scan passes over are nobody's business.
func TestPolicyStays(t *testing.T) {
	rep := judgeUnder(t, catalog.Policy{Allow: []string{"GEN-EMPTY"}}, file("a.pdb", nil))
	if rep.Verdict != catalog.Failed || rep.Files[0].Findings[0].Policy != "" {
		t.Errorf("empty file under a policy that allows it: %s, %+v", rep.Verdict, rep.Files[0].Findings)
	}
	rep = judgeUnder(t, catalog.Policy{Deny: []string{"GEN-UNKNOWN"}}, file("README.txt", []byte("hello")))
	if rep.Verdict != catalog.Good || len(rep.Ignored) != 1 {
		t.Errorf("ignored file under a policy that denies its code: %s, ignored %v", rep.Verdict, rep.Ignored)
	}
}

// However much is allowed, no file without a key becomes good by it.
func FuzzLenient(f *testing.F) {
	f.Add("a.pdb", symfiletest.PDB{GUID: guid, Age: 1, BlockSize: 512, Types: 1}.Bytes())
	f.Add("a.exe", symfiletest.PE{Records: []symfiletest.CodeView{{GUID: guid, Age: 1, Path: "a.pdb"}}}.Bytes())
	f.Add("p.pdb", symfiletest.PortablePDB{GUID: guid, Methods: 1}.Bytes())
	f.Add("v2.pdb", symfiletest.PDB2(1, 2))
	f.Add("x.sym", []byte("MODULE Linux x86_64 000000000000000000000000000000011 x\nPUBLIC 1 0 f\n"))
	f.Add("x.zip", []byte("PK\x03\x04"))
	f.Add("x.txt", []byte("text"))
	p := lenient()
	f.Fuzz(func(t *testing.T, path string, b []byte) {
		in := file(path, b)
		in.Explicit = true
		rep, err := validate.Package(t.Context(), []validate.File{in}, validate.Options{Policy: p})
		if err != nil {
			t.Fatalf("Package: %v", err)
		}
		if rep.Verdict == catalog.Good && len(rep.Files[0].Keys) == 0 && judgeUnder(t, catalog.Policy{}, in).Verdict != catalog.Good {
			t.Errorf("%q became good without a key: %+v", path, rep.Files[0].Findings)
		}
	})
}
