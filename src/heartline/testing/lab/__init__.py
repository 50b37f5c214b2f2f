"""The fault lab: real faults on real networks of our own, and the promises counted.

Each trial has three network namespaces in a row, client, router and venue, joined by
veth pairs; the router loses, delays and forgets. The client and the venue are
processes, so that whoever is to be frozen can be. Linux and root only; what is
missing is said by `namespaces.missing`. Nothing of it outlives the process, and what a
killed one left behind is removed by the next (`namespaces.sweep`).

| module       | what lives there                                             |
|--------------|--------------------------------------------------------------|
| `rows`       | every fault as data: what is told, by when, or why nothing   |
| `namespaces` | networks made and removed                                    |
| `links`      | the wires between them, and what the router does to packets  |
| `tun_link`   | a link in userspace, which delays and reorders               |
| `venue`      | the venue's process; `balancer` stands before it in one row  |
| `client`     | the process of the stream under test, `ordeals` what it bears |
| `crowd`      | a process with a thousand; `guest`: with another library     |
| `limits`     | control groups; `hog` presses on memory in one               |
| `stage`      | all that one trial needs, set up and taken down              |
| `acts`       | what is done in each row; also `calm_acts`, `crowd_acts`     |
| `trial`      | one row, once; `outcome` is what it came to                  |
| `series`     | all of them, many side by side                               |
| `tally`      | figures of many trials; `report` writes them down            |

Import from the modules; this file stays empty, because child processes read it too.
"""
