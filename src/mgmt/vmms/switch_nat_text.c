#include <stdio.h>
#include <stdlib.h>

#include "mgmt/vmms/switch_nat.h"

#define ADDRESS(subnet, host)                                                                      \
	(subnet) >> 24, (subnet) >> 16 & 255, (subnet) >> 8 & 255, ((subnet)&255) + (host)

/* A guest speaks for itself, though it may have no address yet: not for machines that the host or
 * its network trust. */
static void write_source(FILE *out, const struct switch_nat_rules *rules)
{
	fprintf(out, "\t\tiifname \"%s\" ip saddr != { 0.0.0.0, %u.%u.%u.%u/24 } drop\n",
		rules->bridge, ADDRESS(rules->subnet, 0));
}

/* New connections come from the guests, and from outside only where somebody translated them so. */
static void write_forward(FILE *out, const struct switch_nat_rules *rules)
{
	const char *bridge = rules->bridge;

	fprintf(out, "\tchain forward {\n"
		     "\t\ttype filter hook forward priority filter; policy accept;\n");
	write_source(out, rules);
	fprintf(out,
		"\t\tiifname \"%s\" accept\n"
		"\t\toifname \"%s\" ct state established,related accept\n"
		"\t\toifname \"%s\" ct status dnat accept\n"
		"\t\toifname \"%s\" drop\n",
		bridge, bridge, bridge, bridge);
	for (size_t i = 0; i < rules->guarded_count; i++)
		fprintf(out, "\t\tiifname \"%s\" drop\n", rules->guarded[i]);
	fputs("\t}\n", out);
}

/* The host's own services on the switch are for its guests: an address of a host answers on all of
 * its interfaces otherwise. */
static void write_input(FILE *out, const struct switch_nat_rules *rules)
{
	fprintf(out, "\tchain input {\n"
		     "\t\ttype filter hook input priority filter; policy accept;\n");
	write_source(out, rules);
	fprintf(out,
		"\t\tiifname \"%s\" udp dport { 53, 67 } accept\n"
		"\t\tiifname \"%s\" tcp dport 53 accept\n"
		"\t\tiifname != { \"lo\", \"%s\" } ip daddr %u.%u.%u.%u drop\n"
		"\t}\n",
		rules->bridge, rules->bridge, rules->bridge, ADDRESS(rules->subnet, 1));
}

char *switch_nat_text(const struct switch_nat_rules *rules)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	/* The first makes sure that there is something to delete: the three are one transaction. */
	fprintf(out,
		"add table inet %s\n"
		"delete table inet %s\n"
		"table inet %s {\n"
		"\tcomment \"%s\"\n"
		"\tchain postrouting {\n"
		"\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
		"\t\tip saddr %u.%u.%u.%u/24 oifname != \"%s\" masquerade\n"
		"\t}\n",
		rules->bridge, rules->bridge, rules->bridge, rules->mark, ADDRESS(rules->subnet, 0),
		rules->bridge);
	write_forward(out, rules);
	write_input(out, rules);
	fputs("}\n", out);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}
