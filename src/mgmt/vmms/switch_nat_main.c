/*
 * bulkhead-nat make|keep|remove TABLE MARK: changes the one nftables table of a switch, by the
 * rules on descriptor 3, and writes on descriptor 4 what in other tables stands in the guests' way.
 * A table of that name without the mark is somebody else's and stays as it is.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <nftables/libnftables.h>

#define RULES_FD    3
#define FINDINGS_FD 4
#define RULES_SIZE  16384
#define NAME_SIZE   64

/* Of all rights that of changing the network is left. */
static int drop_rights(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{.effective = 1u << CAP_NET_ADMIN, .permitted = 1u << CAP_NET_ADMIN}};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

/* The first line of what the library said, after its "Error: ". */
static int failed(struct nft_ctx *nft, const char *table)
{
	const char *said = nft_ctx_get_error_buffer(nft);
	const char *error = strstr(said, "Error: ");
	int length;

	said = error ? error + 7 : said;
	length = (int)strcspn(said, "\n");
	fprintf(stderr,
		"the nftables table inet %s cannot be changed (%.*s); see that the kernel has "
		"nf_tables with NAT (modules nf_tables and nft_masq) and that this daemon may "
		"change it\n",
		table, length, said);
	return 1;
}

enum owner { OWNER_NONE, OWNER_US, OWNER_OTHER };

static enum owner owner_of(struct nft_ctx *nft, const char *table, const char *mark)
{
	char command[128];
	char comment[128];

	snprintf(command, sizeof(command), "list table inet %.32s", table);
	snprintf(comment, sizeof(comment), "comment \"%.64s\"\n", mark);
	if (nft_run_cmd_from_buffer(nft, command)) {
		nft_ctx_get_error_buffer(nft); /* read, it is empty again */
		return OWNER_NONE;
	}
	return strstr(nft_ctx_get_output_buffer(nft), comment) ? OWNER_US : OWNER_OTHER;
}

/* One line of `nft list chains`: keeps in mind which chain it is in; whether this one says that the
 * hook drops what no rule accepts. */
static bool read_chain_line(const char *line, char table[NAME_SIZE], char chain[NAME_SIZE])
{
	char family[16];

	if (sscanf(line, "table %15s %63s", family, chain) == 2) {
		snprintf(table, NAME_SIZE, "%s %.40s", family, chain);
		return false;
	}
	if (sscanf(line, " chain %63s", chain) == 1)
		return false;
	return (strstr(line, "hook forward") || strstr(line, "hook input")) &&
	       strstr(line, "policy drop") && strncmp(table, "arp ", 4) != 0 &&
	       strncmp(table, "bridge ", 7) != 0;
}

/* Whoever names the switch in the rules of a table has seen to it. */
static bool names_switch(struct nft_ctx *nft, const char *table, const char *bridge)
{
	char command[128];
	char quoted[NAME_SIZE];

	snprintf(command, sizeof(command), "list table %.63s", table);
	snprintf(quoted, sizeof(quoted), "\"%.32s\"", bridge);
	return !nft_run_cmd_from_buffer(nft, command) &&
	       strstr(nft_ctx_get_output_buffer(nft), quoted);
}

static void write_finding(const char *table, const char *chain, const char *bridge)
{
	if (!strcmp(table, "inet firewalld"))
		dprintf(FINDINGS_FD,
			"firewalld decides what guests reach; let it trust the switch: "
			"firewall-cmd --zone=trusted --add-interface=%s\n",
			bridge);
	else
		dprintf(FINDINGS_FD,
			"the host's own firewall (nftables table %s, chain %s) drops what no rule "
			"of it accepts; have it accept what comes from and goes to %s, or guests "
			"may reach neither the host nor the outside\n",
			table, chain, bridge);
}

/* What accepts or drops in one table binds no other: who drops by default must know the switch. */
static void write_findings(struct nft_ctx *nft, const char *bridge)
{
	char table[NAME_SIZE] = "";
	char chain[NAME_SIZE] = "";
	char *chains;
	char *rest;

	if (nft_run_cmd_from_buffer(nft, "list chains"))
		return;
	chains = strdup(nft_ctx_get_output_buffer(nft));
	rest = chains;
	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		if (!read_chain_line(line, table, chain) && strcmp(table, "inet firewalld") != 0)
			continue;
		if (names_switch(nft, table, bridge))
			continue;
		write_finding(table, chain, bridge);
		break;
	}
	free(chains);
}

static int make(struct nft_ctx *nft, const char *table, const char *mark, bool only_absent)
{
	char rules[RULES_SIZE] = "";
	enum owner owner = owner_of(nft, table, mark);

	if (owner == OWNER_OTHER) {
		fprintf(stderr,
			"the nftables table inet %s is not Bulkhead's; rename it, then start the "
			"daemon again\n",
			table);
		return 1;
	}
	if (pread(RULES_FD, rules, sizeof(rules) - 1, 0) <= 0) {
		fprintf(stderr, "bulkhead-nat has no rules; start it by the daemon\n");
		return 1;
	}
	if ((owner == OWNER_NONE || !only_absent) && nft_run_cmd_from_buffer(nft, rules))
		return failed(nft, table);
	write_findings(nft, table);
	return 0;
}

static int remove_table(struct nft_ctx *nft, const char *table, const char *mark)
{
	char command[128];

	if (owner_of(nft, table, mark) != OWNER_US)
		return 0;
	snprintf(command, sizeof(command), "delete table inet %.32s", table);
	return nft_run_cmd_from_buffer(nft, command) ? failed(nft, table) : 0;
}

int main(int argc, char **argv)
{
	struct nft_ctx *nft;
	int status = 2;

	if (argc != 4) {
		fprintf(stderr, "bulkhead-nat is started by bulkhead-vmms; it is no command\n");
		return 2;
	}
	if (drop_rights()) {
		fprintf(stderr, "changing nftables rules needs CAP_NET_ADMIN; start the daemon as "
				"root\n");
		return 1;
	}
	nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft || nft_ctx_buffer_output(nft) || nft_ctx_buffer_error(nft)) {
		fprintf(stderr, "there is not enough memory for nftables; free some\n");
		return 1;
	}
	if (!strcmp(argv[1], "make") || !strcmp(argv[1], "keep"))
		status = make(nft, argv[2], argv[3], !strcmp(argv[1], "keep"));
	else if (!strcmp(argv[1], "remove"))
		status = remove_table(nft, argv[2], argv[3]);
	nft_ctx_free(nft);
	return status;
}
