package ops

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"symkeep/internal/api"
)

func clusterRecover(env Env) *cobra.Command {
	var dir string
	var yes, json bool
	c := &cobra.Command{
		Use:   "recover",
		Short: "let one survivor go on when a majority is lost for good",
		Long: "Works on the data directory of one node that does not run. When the majority of the\n" +
			"voters is gone for good, one survivor can go on as the only voter of its cluster. What\n" +
			"others had committed and this one never heard of is lost. So look at every survivor\n" +
			"first, without --yes, and take the one with the highest term, then the highest index.\n" +
			"Without --yes only the plan is printed.\n\n" +
			"Afterwards start this node as always, then the other survivors: they are sent its\n" +
			"catalog and get their votes back by themselves. Members that are lost stay in the table\n" +
			"until `symkeep cluster remove`. A voter that was given up must never be started on its\n" +
			"old data directory while it and others of its kind could form the old majority.",
		Example: "  symkeep cluster recover --data-dir /var/lib/symkeep\n" +
			"  symkeep cluster recover --data-dir /var/lib/symkeep --yes",
		Args: Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needDataDir(dir); err != nil {
				return err
			}
			p, err := env.Offline.PlanRecovery(cmd.Context(), dir)
			if err != nil {
				return err
			}
			plan(env, recoveryText(p)...)
			if !yes {
				if json {
					if err := (printer{env, true}).print(p, nil); err != nil {
						return err
					}
				}
				return needYes()
			}
			if p, err = env.Offline.Recover(cmd.Context(), dir); err != nil {
				return err
			}
			return printer{env, json}.print(p, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s is the only voter of cluster %s now; start it, then the other survivors\n", p.Node, p.ClusterID)
				return err
			})
		},
	}
	dataDirFlag(c, &dir)
	jsonFlag(c, &json)
	yesFlag(c, &yes)
	return c
}

// recoveryText says what a recovery would do.
func recoveryText(p api.RecoverPlan) []string {
	name := string(p.Node)
	if p.Name != "" {
		name = fmt.Sprintf("%s (%s)", p.Name, p.Node)
	}
	var lost []string
	for _, s := range p.Voters {
		if s.Self {
			continue
		}
		what := s.Name
		if what == "" {
			what = string(s.ID)
		}
		if !s.Voter {
			what += ", no voter"
		}
		lost = append(lost, fmt.Sprintf("%s (%s)", what, s.Addr))
	}
	lines := []string{fmt.Sprintf("make %s the only voter of cluster %s", name, p.ClusterID)}
	if len(lost) > 0 {
		lines = append(lines, "out of the vote: "+strings.Join(lost, "; ")+"; they stay members and get a vote again if they come back")
	}
	return append(lines,
		fmt.Sprintf("its log ends at term %d, index %d: compare this with every other survivor, the highest one has to go on", p.LastTerm, p.LastIndex),
		fmt.Sprintf("its catalog is at index %d, the newest snapshot at %d; %s behind them will count as committed",
			p.Applied, p.Snapshot, plural(int64(p.Pending), "log entry")),
		"LOST: whatever the others committed after that; blobs that only they hold")
}
