#include "base/fault_plan.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/parse.h"

#define STATEMENT_MAX 160
#define WORDS_MAX     12u
#define VERSION_MAX   255u
#define TIME_MAX_NS   (3600ull * 1000000000ull)
#define OFFERS	      3u

static const char *const kind_names[FAULT_KINDS] = {
	[FAULT_DELAY] = "delay",
	[FAULT_FAIL] = "fail",
	[FAULT_REORDER] = "reorder",
	[FAULT_MALFORMED] = "malformed packet",
	[FAULT_RESCIND] = "rescind",
	[FAULT_PULL] = "pull",
	[FAULT_CHURN] = "subchannels churn",
	[FAULT_REFUSE_VERSION] = "refuse-version",
	[FAULT_MALFORMED_OFFER] = "malformed offer",
};

const char *fault_kind_name(enum fault_kind kind)
{
	return kind_names[kind];
}

/* What a kind must, and may, have besides its name. */
enum {
	HAS_CHANCE = 1,
	HAS_STATUS = 2,
	HAS_WINDOW = 4,
	HAS_MALFORMATION = 8,
	HAS_EVERY = 16,
	HAS_TIMES = 32,
	HAS_TIME = 64,	   /* the next word */
	HAS_VERSION = 128, /* the next word */
};

static const struct {
	const char *words[2]; /* that name it; the second may be left out where it is optional */
	bool optional;
	bool of_bus;
	unsigned int has;
} kinds[FAULT_KINDS] = {
	[FAULT_DELAY] = {{"delay"}, false, false, HAS_TIME | HAS_CHANCE},
	[FAULT_FAIL] = {{"fail", "completion"}, true, false, HAS_STATUS | HAS_CHANCE},
	[FAULT_REORDER] = {{"reorder"}, false, false, HAS_WINDOW | HAS_CHANCE},
	[FAULT_MALFORMED] = {{"malformed", "packet"}, false, false, HAS_MALFORMATION | HAS_CHANCE},
	[FAULT_RESCIND] = {{"rescind"}, false, false, HAS_EVERY | HAS_TIMES},
	[FAULT_PULL] = {{"pull"}, false, false, HAS_EVERY | HAS_TIMES},
	[FAULT_CHURN] = {{"subchannels", "churn"}, true, false, HAS_EVERY | HAS_TIMES},
	[FAULT_REFUSE_VERSION] = {{"refuse-version"}, false, true, HAS_VERSION},
	[FAULT_MALFORMED_OFFER] = {{"malformed", "offer"}, false, true, HAS_TIMES},
};

struct statement {
	char text[STATEMENT_MAX];
	char *words[WORDS_MAX];
	unsigned int count;
	unsigned int next;
};

static int split(struct statement *statement, struct error *err)
{
	char *rest = statement->text, *word;

	while ((word = strtok_r(NULL, " \t\r", &rest))) {
		if (statement->count == WORDS_MAX)
			return error_set(err, EINVAL, "the fault \"%s\" has too many words",
					 statement->text);
		statement->words[statement->count++] = word;
	}
	return 0;
}

static const char *peek(const struct statement *statement)
{
	return statement->next < statement->count ? statement->words[statement->next] : "";
}

static bool take(struct statement *statement, const char *word)
{
	bool found = word && !strcmp(peek(statement), word);

	statement->next += found;
	return found;
}

/* 5ms, 2s; up to an hour. */
static int parse_time(const char *word, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {{"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}};
	size_t digits = strspn(word, "0123456789");
	char number[16];
	uint64_t value;

	if (digits >= sizeof(number))
		return -EINVAL;
	memcpy(number, word, digits);
	number[digits] = '\0';
	for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
		if (strcmp(word + digits, units[i].name) != 0)
			continue;
		if (parse_u64(number, 0, TIME_MAX_NS / units[i].ns, &value))
			return -EINVAL;
		*ns = value * units[i].ns;
		return 0;
	}
	return -EINVAL;
}

/* 0, 1, 0.25: digits, and up to nine behind the point. */
static int parse_chance(const char *word, uint64_t *chance)
{
	size_t whole = strspn(word, "0123456789");
	uint64_t units = 0, scale = 1;
	const char *digit = word + whole;

	if (whole != 1 || word[0] > '1')
		return -EINVAL;
	if (*digit == '.') {
		for (digit++; isdigit((unsigned char)*digit) && scale < 1000000000; digit++) {
			units = units * 10 + (uint64_t)(*digit - '0');
			scale *= 10;
		}
	}
	units += (uint64_t)(word[0] - '0') * scale;
	if (*digit || units > scale)
		return -EINVAL;
	*chance = (units << 32) / scale;
	return 0;
}

static int parse_version(const char *word, uint32_t *version)
{
	const char *point = strchr(word, '.');
	uint64_t major, minor;
	char text[8];

	if (!point || (size_t)(point - word) >= sizeof(text))
		return -EINVAL;
	memcpy(text, word, (size_t)(point - word));
	text[point - word] = '\0';
	if (parse_u64(text, 0, VERSION_MAX, &major) || parse_u64(point + 1, 0, VERSION_MAX, &minor))
		return -EINVAL;
	*version = (uint32_t)(major << 16 | minor);
	return 0;
}

static int choose(const char *word, const char *const *names, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		if (!strcmp(names[i], word))
			return (int)i;
	}
	return -EINVAL;
}

static int parse_number(const char *word, uint32_t min, uint32_t max, uint32_t *out)
{
	uint64_t value;
	int r = parse_u64(word, min, max, &value);

	if (!r)
		*out = (uint32_t)value;
	return r;
}

static int parse_status(const char *word, struct fault_rule *rule)
{
	static const char *const names[] = {"busy", "aborted", "medium"};
	int r = choose(word, names, ARRAY_LENGTH(names));

	if (r >= 0)
		rule->status = (enum fault_status)r;
	return MIN(r, 0);
}

static int parse_malformation(const char *word, struct fault_rule *rule)
{
	static const char *const names[] = {"any", "length", "type", "transaction"};
	int r = choose(word, names, ARRAY_LENGTH(names));

	if (r >= 0)
		rule->malformation = (enum fault_malformation)r;
	return MIN(r, 0);
}

/* The value of "KEY=VALUE", or of the two words KEY VALUE; NULL for another key. */
static const char *value_of(struct statement *statement, const char *key)
{
	const char *word = peek(statement);
	size_t length = strlen(key);

	if (strncmp(word, key, length))
		return NULL;
	if (word[length] == '=') {
		statement->next++;
		return word + length + 1;
	}
	if (word[length] || statement->next + 1 >= statement->count)
		return NULL;
	statement->next += 2;
	return statement->words[statement->next - 1];
}

/* The next of what may follow a kind's name; -EINVAL for anything else. */
static int parse_attribute(struct statement *statement, unsigned int has, struct fault_rule *rule)
{
	const char *value;

	if (has & HAS_CHANCE && (value = value_of(statement, "p")))
		return parse_chance(value, &rule->chance);
	if (has & HAS_STATUS && (value = value_of(statement, "status")))
		return parse_status(value, rule);
	if (has & HAS_WINDOW && (value = value_of(statement, "window")))
		return parse_number(value, 2, FAULT_WINDOW_MAX, &rule->window);
	if (has & HAS_MALFORMATION && (value = value_of(statement, "kind")))
		return parse_malformation(value, rule);
	if (has & HAS_EVERY && (value = value_of(statement, "every")))
		return parse_time(value, &rule->time_ns) || !rule->time_ns ? -EINVAL : 0;
	if (has & HAS_TIMES && (value = value_of(statement, "times")))
		return parse_number(value, 1, UINT32_MAX, &rule->times);
	return -EINVAL;
}

static bool take_kind(struct statement *statement, struct fault_rule *rule)
{
	unsigned int start = statement->next;
	bool of_bus = !strcmp(rule->target, "vmbus");

	for (unsigned int i = 0; i < FAULT_KINDS; i++) {
		statement->next = start;
		if (kinds[i].of_bus != of_bus || !take(statement, kinds[i].words[0]))
			continue;
		if (kinds[i].words[1] && !take(statement, kinds[i].words[1]) && !kinds[i].optional)
			continue;
		rule->kind = (enum fault_kind)i;
		return true;
	}
	statement->next = start;
	return false;
}

static int parse_rule(struct statement *statement, struct fault_rule *rule)
{
	unsigned int has;
	int r = 0;

	*rule = (struct fault_rule){.chance = 1ull << 32, .window = 8};
	snprintf(rule->target, sizeof(rule->target), "%s", statement->words[0]);
	rule->target[strlen(rule->target) - 1] = '\0'; /* the colon */
	statement->next = 1;
	if (!rule->target[0] || !take_kind(statement, rule))
		return -EINVAL;
	has = kinds[rule->kind].has;
	rule->times = rule->kind == FAULT_MALFORMED_OFFER ? OFFERS : 0;
	if (has & HAS_TIME)
		r = parse_time(peek(statement), &rule->time_ns);
	if (has & HAS_VERSION)
		r = parse_version(peek(statement), &rule->version);
	statement->next += (has & (HAS_TIME | HAS_VERSION)) != 0;
	while (!r && statement->next < statement->count)
		r = parse_attribute(statement, has, rule);
	return r || (has & HAS_EVERY && !rule->time_ns) ? -EINVAL : 0;
}

static bool is_target(const char *word)
{
	size_t length = strlen(word);

	return length > 1 && length < FAULT_TARGET_MAX && word[length - 1] == ':';
}

static int parse_statement(const char *start, size_t length, struct fault_plan *plan,
			   struct error *err)
{
	struct statement statement = {.count = 0};
	int r;

	if (length >= sizeof(statement.text))
		return error_set(err, EINVAL, "the fault \"%.40s...\" is too long", start);
	memcpy(statement.text, start, length);
	r = split(&statement, err);
	if (r || statement.count == 0 || statement.words[0][0] == '#')
		return r;
	if (!strncmp(statement.words[0], "seed=", 5) && statement.count == 1)
		r = parse_u64(statement.words[0] + 5, 0, UINT64_MAX, &plan->seed);
	else if (!is_target(statement.words[0]))
		r = -EINVAL;
	else if (plan->count == FAULT_RULES_MAX)
		return error_set(err, EINVAL, "there are more than %d faults; leave some out",
				 FAULT_RULES_MAX);
	else
		r = parse_rule(&statement, &plan->rules[plan->count++]);
	if (!r)
		return 0;
	return error_set(err, EINVAL,
			 "the fault \"%.*s\" is not written right; write it like "
			 "\"scsi0: delay 5ms p=0.1\" (docs/faults.md has them all)",
			 (int)length, start);
}

int fault_plan_parse(const char *text, struct fault_plan *plan, struct error *err)
{
	struct fault_plan new = {.seed = 1};

	if (strlen(text) > FAULT_TEXT_MAX)
		return error_set(err, EINVAL, "the faults are longer than %d bytes",
				 FAULT_TEXT_MAX);
	while (*text) {
		size_t length = strcspn(text, ";\n");
		int r = parse_statement(text, length, &new, err);

		if (r)
			return r;
		text += length + (text[length] != '\0');
	}
	*plan = new;
	return 0;
}

bool fault_rule_matches(const struct fault_rule *rule, const char *name)
{
	size_t length = strlen(rule->target);

	if (length && rule->target[length - 1] == '*')
		return !strncmp(rule->target, name, length - 1);
	return !strcmp(rule->target, name);
}
