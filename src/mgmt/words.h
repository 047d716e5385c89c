#pragma once

/*
 * Cuts the first word off *rest, words with commas in between, as strsep does; but two commas in a
 * row are one that belongs to the word, so that a path may have them.  In place; NULL when there is
 * none left.
 */
char *words_next(char **rest);
