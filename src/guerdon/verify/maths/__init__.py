"""When two mathematical answers are equal: readers, exact and numeric comparison, and the reward."""
