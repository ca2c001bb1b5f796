class UnsupportedModelError(Exception):
    pass


class ParsingWithRecommendationException(Exception):
    def __init__(self, message, recommended_end_node_names=()):
        super().__init__(message)
        self.recommended_end_node_names = list(recommended_end_node_names)
