// go-writes drives one load of writes, a closed loop of clients, on three members of several
// servers in turns: of the raft server in examples/, over HTTP, and of etcd, over gRPC by etcd's own
// client. One program in one language for all of them, so that the costs of the clients are alike.
// Members write to the same disk and wait for it.
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "go-writes: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	plan, err := parsePlan(args)
	if err != nil {
		return err
	}
	if err := printDisk(plan.dir); err != nil {
		return err
	}
	var results []*result
	for round := range plan.rounds {
		for _, clients := range plan.clients {
			// In turns, and each is first once: what disturbs the machine meets them alike.
			for turn := range plan.servers {
				server := plan.servers[(turn+round)%len(plan.servers)]
				result, err := measure(plan, server, clients)
				if err != nil {
					return fmt.Errorf("%s with %d clients: %w", server.name, clients, err)
				}
				fmt.Println(result)
				results = append(results, result)
			}
		}
	}
	printTable(plan, results)
	return failures(results)
}

// measure is one run on members that were never used before.
func measure(plan *plan, server server, clients int) (*result, error) {
	fleet, err := startFleet(plan, server)
	if err != nil {
		return nil, err
	}
	defer fleet.stop()
	doors, err := fleet.doors(clients)
	if err != nil {
		return nil, err
	}
	defer closeAll(doors)
	return newLoad(plan, server, fleet, doors).run()
}

func failures(results []*result) error {
	for _, r := range results {
		if r.failed > 0 {
			return errors.New("writes failed: these are no figures, run again on a quieter machine")
		}
	}
	return nil
}
